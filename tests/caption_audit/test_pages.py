"""The audit's page and the rating sheet, as a person uses them."""

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser import open_page
from tests.evaluation.phone import overflow_at_phone_width
from vapray.caption_audit.claims import AuditedImage
from vapray.caption_audit.experts import summarize_ratings
from vapray.caption_audit.findings import RepeatedCaptions, find, find_consistency
from vapray.caption_audit.page import MEASURED, Audit, WorstCaption, render_audit
from vapray.caption_audit.proportions import proportion
from vapray.caption_audit.rating_sheet import SheetCaption, render_rating_sheet
from vapray.caption_audit.ratings import RatedCaption, read_ratings
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import load_prompt_set

HOSTILE = "an oval <script>alert('x')</script> lesion, {{ 7 * 7 }} & \"quoted\""
DERMOSCOPY = load_prompt_set("dermoscopy")
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def audit() -> Audit:
    known = {"shape": "round", "size": 0.2, "outline": "smooth"}
    captions = [HOSTILE, "A round lesion with a jagged border of about 20% of the image."] * 6
    pictures = [
        AuditedImage(f"<{n}>", f"{n // 2}", parse_caption(text, DERMOSCOPY), known) for n, text in enumerate(captions)
    ]
    findings = find(pictures, DERMOSCOPY, seed=0)
    return Audit(
        modality="dermoscopy",
        captioner="tiny <model>",
        reference="measurement",
        created="2026-11-22",
        captions=12,
        rejects={"refusal": 2},
        omitted=("texture",),
        findings=findings,
        consistency=find_consistency(
            [RepeatedCaptions("a", [{"shape": "round"}, {"shape": "oval"}])], DERMOSCOPY, seed=0
        ),
        others=(),
        experts=None,
        worst=[WorstCaption(PICTURE, HOSTILE, findings.worst[0])],
    )


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    captions = [SheetCaption(f"image {n}", f"key {n}", PICTURE, HOSTILE, ("shape", "size")) for n in range(3)]
    path = tmp_path / "sheet.html"
    path.write_text(render_rating_sheet(captions, "run 1"))
    return path


def test_the_page_says_what_is_wrong_and_interprets_nothing(audit: Audit) -> None:
    page = render_audit(audit)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "50\u00a0% of the statements contradict their image" in page.replace("\n", "")
    assert "shape: caption oval, image round" in page
    assert "omitted by instruction" in page
    assert "refusal" in page


@pytest.mark.parametrize(
    ("wrong", "chance", "words"),
    [
        (0.50, 0.54, "say next to nothing about their own image"),
        (0.30, 0.54, "say little about their own image"),
        (0.10, 0.54, "say what is in their own image"),
        (0.54, 0.54, "not distinguishable from shuffled captions"),
        (0.70, 0.54, "worse than shuffled captions"),
    ],
)
def test_the_verdict_compares_with_other_images(audit: Audit, wrong: float, chance: float, words: str) -> None:
    outcomes = [number < 1000 * wrong for number in range(1000)]
    contradicted = proportion(outcomes, range(1000))
    assert contradicted is not None
    findings = replace(audit.findings, contradicted=contradicted, by_chance=chance, statements=1500, silent=3)
    page = render_audit(replace(audit, findings=findings))
    assert words in page
    assert "1,000 statements that could be checked (1,500 were read in 12 captions, none in 3 of them)" in page


def test_what_experts_say_beside_the_attributes_is_shown_too(audit: Audit) -> None:
    rated = [RatedCaption(image_id="a", caption_key="k", verdicts={"shape": "right", "everything else": "wrong"})]
    experts = summarize_ratings([("<AB>", rated)], {"a": "k"}, {"a": "a"}, {})
    page = render_audit(Audit(**vars(audit) | {"experts": experts}))
    assert "everything else</th><td>100\u00a0%" in page
    assert "&lt;AB&gt;" in page


def test_nothing_is_claimed_where_nothing_is_known(audit: Audit) -> None:
    unknown = [AuditedImage("a", "a", {"shape": "round"}, {})]
    nothing = {"reference": "nothing", "findings": find(unknown, DERMOSCOPY, seed=0), "worst": ()}
    for changes, headline in (
        ({"captioner": MEASURED}, "cannot be audited by the same measurements"),
        ({"modality": "chest X-ray"}, "not checked: no attributes are measured in chest X-ray"),
    ):
        page = render_audit(Audit(**vars(audit) | nothing | changes))
        assert headline in page
        assert "contradict their image" not in page


def test_pages_fit_a_phone(audit: Audit, sheet: Path, tmp_path: Path) -> None:
    for page in (render_audit(audit), sheet.read_text()):
        assert overflow_at_phone_width(page, tmp_path) == 0


def test_only_the_sheets_own_script_may_run(sheet: Path) -> None:
    page = sheet.read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_what_is_rated_in_the_browser_is_what_is_read_back(sheet: Path, tmp_path: Path) -> None:
    with open_page(sheet.as_uri()) as page:
        page.get_by_label("Your name or initials").fill("Dr A. B.")
        first = page.locator("article").nth(0)
        first.get_by_role("group", name="shape").get_by_label("wrong").check()
        first.get_by_role("group", name="size").get_by_label("unsure").check()
        page.locator("article").nth(2).get_by_role("group", name="everything else").get_by_label("right").check()
        assert page.locator("output").text_content() == "2 of 3 rated"
        page.wait_for_timeout(3_000)  # a busy browser stores what was chosen a moment later
        page.reload()
        expect(first.get_by_role("group", name="shape").get_by_label("wrong")).to_be_checked(timeout=30_000)
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save ratings").click()
        assert saved.value.suggested_filename == "ratings-Dr_A_B_.json"
        file = tmp_path / "saved.json"
        saved.value.save_as(file)
    rater, ratings = read_ratings(str(file))
    assert rater == "Dr A. B."
    assert [(one.image_id, one.caption_key, one.verdicts) for one in ratings] == [
        ("image 0", "key 0", {"shape": "wrong", "size": "unsure"}),
        ("image 2", "key 2", {"everything else": "right"}),
    ]
    with open_page(sheet.as_uri()) as elsewhere:
        assert elsewhere.locator("output").text_content() == "0 of 3 rated"
        elsewhere.locator("input[type=file]").set_input_files(file)
        elsewhere.get_by_text("2 of 3 rated").wait_for()


def test_a_sheet_without_a_name_is_not_saved(sheet: Path) -> None:
    with open_page(sheet.as_uri()) as page:
        page.get_by_role("button", name="Save ratings").click()
        assert page.evaluate("document.activeElement.name") == "rater"
