"""The lexicon on descriptions that a multimodal LLM wrote, against what a reader found stated in them."""

import csv
from pathlib import Path

import pytest
import yaml

from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import load_prompt_set

DESCRIPTIONS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "derm_mllm" / "captions.csv"
LABELS = yaml.safe_load(Path(__file__).with_name("stated_in_descriptions.yaml").read_text())
ATTRIBUTES = ("shape", "outline", "size", "colours", "texture", "background")


def is_right(attribute: str, stated: dict, found: dict) -> bool:
    """Compare what was read with what is stated."""
    if attribute == "outline":
        return found.get("outline") == "irregular"
    if attribute == "size":
        return 0.12 < found.get("size", 0) < 0.28
    if attribute == "colours":
        least, read = set(stated["colours"]), set(found.get("colours", ()))
        return least <= read <= least | set(stated.get("or", ()))
    return found.get(attribute, "none") in stated[attribute]


@pytest.mark.parametrize("half", ["tuning", "held out"])
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_nine_of_ten_readings_are_right(attribute: str, half: str) -> None:
    if not DESCRIPTIONS.is_file():
        pytest.skip("the descriptions are not part of the project")
    prompt_set = load_prompt_set("dermoscopy")
    with DESCRIPTIONS.open(newline="", encoding="utf-8") as file:
        texts = {row["image_id"]: row["caption"] for row in csv.DictReader(file)}
    chosen = list(LABELS)[half == "held out" :: 2]
    right = [is_right(attribute, LABELS[name], parse_caption(texts[name], prompt_set)) for name in chosen]
    assert len(right) == 30
    assert sum(right) >= 27
