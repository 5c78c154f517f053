"""The studio, as a person uses it: a real browser, the real API, a real sampler."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser import open_page
from tests.serve.studio_page import HOSTILE, LOST_SEED, STEPS, Measuring, are_finished, generate, happens, has_started
from tests.serve.threaded import running
from vapray.sampling.sampler import Sampler

PHONE = 390
"""CSS pixels."""


@pytest.fixture(scope="module")
def backend(sampler: Sampler) -> Measuring:
    return Measuring(sampler)


@pytest.fixture(scope="module")
def studio(backend: Measuring) -> Iterator[str]:
    with running(backend) as address:
        yield address


def width(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


def test_a_picture_of_the_drawn_caption_has_the_bytes_that_the_api_gives_for_the_same_seed(studio):
    with open_page(studio) as page:
        expect(page.get_by_text("Synthetic images. Not for clinical use.")).to_be_visible()
        has_started(page)
        caption = page.get_by_label("Caption", exact=True).input_value()
        label = page.get_by_role("combobox", name="Class").input_value()
        generate(page)
        are_finished(page, 1)
        page.get_by_role("button", name=f"Synthetic image of class {label}, seed 11").click()
        expect(page.get_by_role("dialog")).to_contain_text(caption)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download PNG").click()
        command = page.locator("#curl").text_content()
        name, saved = download.value.suggested_filename, download.value.path().read_bytes()
    address, body = re.search(r"curl -sS '(.*?)'.*-d '(.*?)'", command, re.DOTALL).groups()
    (made,) = httpx.post(address, json=json.loads(body), timeout=60).json()["data"]
    assert (made["revised_prompt"], made["class"], made["seed"]) == (caption, label, 11)
    assert saved == base64.b64decode(made["b64_json"])
    assert name == f"{label}-11-{made['model_sha256'][:12]}.png"


def test_cancelling_stops_what_was_asked_for(studio, backend):
    before = len(backend.jobs), backend.cancelled
    backend.gate.clear()
    try:
        with open_page(studio) as page:
            has_started(page)
            generate(page, count=3)
            assert happens(lambda: len(backend.jobs) == before[0] + 3)
            page.get_by_role("button", name="Cancel").click()
            expect(page.get_by_text("Cancelled. 0 images finished.")).to_be_visible()
            expect(page.get_by_text("cancelled", exact=False).last).to_be_visible()
            assert happens(lambda: backend.cancelled == before[1] + 3)
            expect(page.get_by_role("button", name="Generate")).to_be_enabled()
    finally:
        backend.gate = asyncio.Event()  # one that nobody waits for
        backend.gate.set()


def test_what_fails_on_the_way_is_told_and_what_was_finished_stays(studio):
    with open_page(studio) as page:
        has_started(page)
        page.get_by_role("spinbutton", name="Steps").fill(str(STEPS))
        generate(page, seed=LOST_SEED - 1)
        are_finished(page, 1)
        generate(page, seed=LOST_SEED)
        expect(page.get_by_role("alert").filter(has_text="The replica was lost.")).to_contain_text("request req_")
        expect(page.get_by_text(f"seed {LOST_SEED} · not finished")).to_be_visible()
        are_finished(page, 1)


def test_everything_is_reached_by_keyboard(studio):
    def tab_to(wanted: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id || document.activeElement.className") == wanted:
                return
        raise AssertionError(f"Tab never came to {wanted}")

    with open_page(studio) as page:
        has_started(page)
        tab_to("count")
        page.keyboard.press("Home")
        tab_to("generate")
        page.keyboard.press("Enter")
        are_finished(page, 1)
        tab_to("open")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        assert page.evaluate("document.activeElement.className") == "open"
        tab_to("tab-images")
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tabpanel", name="Evaluations")).to_be_visible()
        expect(page.get_by_role("tabpanel", name="Images")).to_be_hidden()


def test_free_text_shows_how_far_it_lies_from_the_bank(studio):
    with open_page(studio) as page:
        has_started(page)
        drawn = page.get_by_label("Caption", exact=True).input_value()
        page.get_by_role("button", name="Edit").click()
        expect(page.get_by_text("This is a caption of the bank.")).to_be_visible()
        page.get_by_label("Caption", exact=True).fill("a bus in the rain, seen from above")
        expect(page.get_by_text(re.compile("Farther .* bank"))).to_be_visible()
        expect(page.get_by_text(re.compile("Nearest caption"))).to_be_visible()
        page.get_by_role("button", name="Back to the bank").click()
        expect(page.locator("#distance")).to_be_hidden()
        assert drawn


def test_with_and_without_prototypes_stand_side_by_side_of_one_seed_and_caption(studio, backend):
    asked = len(backend.jobs)
    with open_page(studio) as page:
        has_started(page)
        page.get_by_role("checkbox", name=re.compile("prototypes bypassed")).check()
        generate(page, count=2)
        are_finished(page, 4)
        expect(page.locator(".card.pair")).to_have_count(2)
        expect(page.locator(".card.pair").first.locator("img")).to_have_count(2)
    jobs = {(one.settings.prototypes, one.seed, one.bank_id) for one in backend.jobs[asked:]}
    (bank_id,) = {one.bank_id for one in backend.jobs[asked:]}
    assert jobs == {(on, seed, bank_id) for on in ("on", "bypassed") for seed in (11, 12)}


def test_every_picture_can_have_a_caption_of_its_own(studio, backend):
    with open_page(studio) as page:
        has_started(page)
        page.get_by_label(re.compile("a separate caption")).check()
        generate(page, count=3)
        are_finished(page, 3)
        shown = page.locator("figcaption .subtitle").all_text_contents()
    made = [backend.sampler.bank.draw(0, seed)[0].caption for seed in (11, 12, 13)]
    assert shown == made


def test_a_caption_with_html_in_it_is_shown_as_text(studio):
    with open_page(studio) as page:
        has_started(page)
        page.get_by_role("button", name="Edit").click()
        page.get_by_label("Caption", exact=True).fill(HOSTILE)
        generate(page)
        are_finished(page, 1)
        expect(page.locator(".batch .subtitle")).to_have_text(HOSTILE)
        page.locator(".open").click()
        expect(page.get_by_role("dialog")).to_contain_text(HOSTILE)
        assert page.locator(".subtitle img, .subtitle b, dd b, dd img").count() == 0


def test_a_picture_is_described_and_its_neighbours_are_shown(studio, small_run_picture):
    with open_page(studio) as page:
        has_started(page)
        page.get_by_label("Caption an image").set_input_files(small_run_picture)
        expect(page.get_by_label("Caption", exact=True)).to_have_value("a picture")
        generate(page)
        are_finished(page, 1)
        page.locator(".open").click()
        page.get_by_role("button", name="Find them").click()
        expect(page.get_by_role("img", name=re.compile("Real training image"))).to_have_count(4)
        expect(page.get_by_text("The nearest one is as far as typical")).to_be_visible()


@pytest.fixture
def small_run_picture(backend: Measuring, tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(backend.sampler.generate(0, seed=1)[0].to_png())
    return path


def test_evaluations_run_and_are_compared(studio, small_run_picture):
    with open_page(f"{studio}#evaluations") as page:
        page.get_by_role("spinbutton", name="Images").fill("2")
        page.get_by_role("button", name="Start").click()
        expect(page.locator("[data-status=succeeded]")).to_have_count(1)
        subtitle = page.locator(".evaluation .subtitle")
        expect(subtitle).to_contain_text("all classes, seeds from 0, 3 steps, guidance 2.5")
        page.get_by_label("your image files").check()
        page.get_by_label("Choose files").set_input_files([small_run_picture] * 2)
        expect(page.locator("#chosen")).to_contain_text("2 images, ")
        page.get_by_role("button", name="Start").click()
        expect(page.locator("[data-status=succeeded]")).to_have_count(2)
        newest = page.locator(".evaluation").first
        for text in ("2 · 2 images, uploaded", "not measured", "11 to 14", "<more>", "those of <the run>"):
            expect(newest).to_contain_text(text)
        expect(page.get_by_role("img", name="KID, lower is better. 2: 12.5, 1: 12.5")).to_be_visible()


def test_a_phone_shows_it_all_without_scrolling_sideways(studio):
    with open_page(studio, width=PHONE, height=844) as page:
        has_started(page)
        assert width(page) == PHONE
        page.get_by_role("checkbox", name=re.compile("prototypes bypassed")).check()
        page.get_by_role("button", name="Edit").click()
        expect(page.locator("#distance")).to_be_visible()
        generate(page, count=2)
        are_finished(page, 4)
        assert width(page) == PHONE
        page.locator(".open").first.click()
        page.get_by_text("Reproduce with curl").click()
        assert page.evaluate("document.getElementById('details').scrollWidth") <= PHONE
        page.keyboard.press("Escape")
        page.get_by_role("tab", name="Evaluations").click()
        assert width(page) == PHONE
        expect(page.get_by_text("Synthetic images. Not for clinical use.")).to_be_visible()
