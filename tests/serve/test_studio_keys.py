"""The studio of a service with keys: asked for once, and kept in the tab alone."""

import re

from playwright.sync_api import expect

from tests.browser import open_page
from tests.serve.in_process import InProcess
from tests.serve.studio_page import are_finished, generate, has_started
from tests.serve.threaded import running
from vapray.service.api_keys import add_key


def test_a_key_is_asked_for_once_and_refusals_are_told_in_words(sampler, tmp_path):
    keys = str(tmp_path / "keys.yaml")
    key = add_key(keys, "reader", ["images", "bank"], 2)
    with running(InProcess(sampler), api_keys_file=keys) as address, open_page(address, refusals=(401, 429)) as page:
        field = page.get_by_role("textbox", name="API key")
        field.fill("vr_wrong")
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#key-problem")).not_to_be_empty()
        field.fill(key)
        field.press("Enter")
        has_started(page)
        assert page.evaluate("[localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]
        expect(page.get_by_label("Caption an image")).to_be_hidden()
        generate(page, count=2)
        are_finished(page, 2)
        generate(page, count=1)
        told = page.get_by_role("alert").filter(has_text="Retry in")
        expect(told).to_contain_text(re.compile(r"request req_[0-9a-f]{32}"))
        page.reload()
        has_started(page)
        page.get_by_role("tab", name="Evaluations").click()
        expect(page.get_by_text("Evaluations are not enabled")).to_be_visible()
