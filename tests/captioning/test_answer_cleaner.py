"""A cleaned answer says all that the model said of the image, and nothing else."""

import csv
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from vapray.captioning.answer_cleaner import clean_answer
from vapray.captioning.caption_filter import clean_text, reject_reason

BROWN = "The lesion is brown."
ANSWERS = {
    # preambles
    "Sure! The lesion is brown.": BROWN,
    "Okay, here's a description of the image you sent, keeping it short:\n\nThe lesion is brown.": BROWN,
    "Certainly! Here is a breakdown of the features:\n\n1. **Shape:** round\n2. **Color:** brown": (
        "Shape: round. Color: brown."
    ),
    "Absolutely! Below is a concise caption for the image:\n\n> *A small, oval lesion on pale skin.*": (
        "A small, oval lesion on pale skin."
    ),
    "Alright, here is what I see: a red polyp with a smooth surface.": "A red polyp with a smooth surface.",
    "Based on the provided image, here's a description:\n- Round\n- Brown\n- 3 mm": "Round. Brown. 3 mm.",
    "Here's a description of a round lesion with irregular borders.": "A round lesion with irregular borders.",
    "As an AI visual assistant, I observe the following: the lesion is round.": "The lesion is round.",
    "Thank you for sharing this image. The lesion is brown.": BROWN,
    "Hello! I've analyzed the image. The lesion is brown.": BROWN,
    "Great question! The lung fields are clear.": "The lung fields are clear.",
    "Okay, let's break down the image.\n\nThe lesion is brown.": BROWN,
    "Sorry for the confusion. The lesion is brown.": BROWN,
    "Certainly! Let's delve into the features:\n\n### 1. Shape\n- Round": "Shape: Round.",
    "My analysis: the lesion is brown.": BROWN,
    # labels
    "**Description:** The lesion is brown.": BROWN,
    "**Image Description**\n\nThe lesion is brown.": BROWN,
    "### Dermoscopic Analysis of the Skin Lesion\n\n- **Shape**: round": "Shape: round.",
    "Final answer: **The lesion is brown.**": BROWN,
    # Markdown
    "| Feature | Description |\n|---|---|\n| Shape | Round |\n| Color | Red dots |": "Shape: Round. Color: Red dots.",
    "| Feature | Finding | Sure |\n|:--|:-:|--:|\n| Shape | Oval | yes |": "Feature: Shape; Finding: Oval; Sure: yes.",
    "### Shape\nIrregular.\n### Color\n- brown\n- red": "Shape: Irregular. Color: brown. red.",
    "**Shape**\nRound, 5 mm\n**Color**\nBrown": "Shape: Round, 5 mm. Color: Brown.",
    "Shape: round\nColor: brown\nTexture: smooth": "Shape: round. Color: brown. Texture: smooth.",
    "• Shape: oval\n✅ **Colour**: red\na) flat": "Shape: oval. Colour: red. flat.",
    "```\nThe lesion is brown.\n```": BROWN,
    '"The lesion is brown."': BROWN,
    "<b>Shape</b>: round<br>Color: brown": "Shape: round. Color: brown.",
    "A 5*3 mm core, 2 * 4 dots and a_b lines.": "A 5 × 3 mm core, 2 × 4 dots and a_b lines.",
    "> 5 mm wide, ~35% of the image, *slightly* __raised__.": "> 5 mm wide, ~35% of the image, slightly raised.",
    # offers
    "The lesion is brown.\n\nLet me know if you need anything else! I hope this helps.": BROWN,
    "The lesion is brown. Would you like me to analyze another image?": BROWN,
    "The lesion is brown.\n\nWould you like me to:\n* Describe another image?\n* Give more detail?": BROWN,
    "The lesion is brown.\n\nTo help me, could you tell me:\n* Where is it?\n* How long has it been there?": BROWN,
    "The lesion is brown. If you’d like, you can send another image for analysis.": BROWN,
    "The lesion is brown. Feel free to ask for more details.": BROWN,
    # disclaimers
    "The lesion is oval. Please note that I cannot provide a diagnosis. Its border is irregular.": (
        "The lesion is oval. Its border is irregular."
    ),
    "The lesion is brown.\n\nNote: this is not medical advice.": BROWN,
    "The lesion is brown.\n\n## Disclaimer\n\nThis is not medical advice. Please consult a dermatologist.": BROWN,
    "*Disclaimer: I'm not a medical professional.* The lesion is brown.": BROWN,
    "I am an AI assistant and not a doctor. The lesion is brown. It is best to consult a doctor.": BROWN,
    "The lesion is brown. This information is for educational purposes only.": BROWN,
    "The lesion is brown. Further evaluation by a dermatologist is recommended.": BROWN,
    "This description focuses solely on visual features. The lesion is brown.": BROWN,
    "The lesion is brown. A dermatologist would need to evaluate it. It warrants further investigation.": BROWN,
    # one clause of a sentence
    "I cannot provide a medical diagnosis, but I can describe the image: The lesion is brown.": BROWN,
    "While I can't diagnose, the lesion is brown.": BROWN,
    "I am unable to make a diagnosis, however the lesion is brown.": BROWN,
    "As an AI, I cannot diagnose, but the lesion is round, brown, with streaks.": (
        "The lesion is round, brown, with streaks."
    ),
    "The lesion is brown, and should be evaluated by a dermatologist.": BROWN,
    "The lesion is brown, but a diagnosis cannot be made from the image alone.": "The lesion is brown",
    "Note: a hair crosses the lesion. It is important to note that the border is irregular.": (
        "A hair crosses the lesion. The border is irregular."
    ),
}
KEPT = [
    "A round red lesion, about 35% of the image, on pale skin.",
    "shape: round; outline: smooth; size: 35%; colours: red.",
    "If you look closely, small dots are visible.",
    "Here is a round lesion with brown color.",
    "This is a dermoscopic image of a brown lesion.",
    "I can see a round, brown lesion.",
    "I cannot see any hair. I cannot determine the exact size without a scale.",
    "I do not see any ulceration in the image.",
    "The lesion appears asymmetrical; however, its size cannot be determined.",
    "The mark was drawn by a doctor with a pen.",
    "Ink dots made during examination by the physician are visible.",
    "The doctor's glove is visible, and the lesion needs no magnification to be seen.",
    "Treatment changes: sternotomy wires. Impression: no acute findings.",
    "Well-defined borders. Right lung clear.",
    "The border isn't clear, so I can't describe it in detail, but it appears irregular.",
    "The rest of the image is not available for comparison.",
    "I can't help but notice the irregular border.",
]
NOTHING = [
    "",
    "Sure! Here's a description of the image:",
    "Is there anything else you would like to know?",
    "I'm not able to provide medical advice or analyze medical images. Please consult a dermatologist.",
    "Please upload the image that you want me to describe.",
]
STATEMENTS = [
    "The lesion is brown.",
    "Shape: round.",
    "A 0.5-12 mm wide, red-brown area (left).",
    "No hair is visible!",
]
LAYOUTS = ["{}", "* {}", "1. {}", "**{}**", "> {}", "- *{}*", "### {}", "<p>{}</p>", "`{}`"]
REAL = ROOT.parent / "shared" / "data" / "derm_mllm" / "captions.csv"
TALK = re.compile(
    r"[*#`_|]|\bhere(?:'s|’s| is)|description of|would you|do you|you’d|let me|please|another image|diagnos|disclaimer"
    r"|analy[sz]e|\?|\bI\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(("answer", "text"), ANSWERS.items())
def test_what_an_answer_says_of_the_image_is_kept_alone(answer: str, text: str) -> None:
    assert clean_answer(answer).removesuffix(".") == text.removesuffix(".")
    assert reject_reason(clean_answer(answer)) is None


@pytest.mark.parametrize("text", [*KEPT, *(text for text in ANSWERS.values() if text.endswith("."))])
def test_a_text_without_talk_is_unchanged(text: str) -> None:
    assert clean_answer(text) == text
    assert reject_reason(text) is None


@pytest.mark.parametrize("answer", NOTHING)
def test_an_answer_of_talk_alone_leaves_nothing(answer: str) -> None:
    assert clean_answer(answer) == ""


@pytest.mark.parametrize("piece", ["okay, ", "here's a list: ", "note: ", "I cannot diagnose, but ", "* ", "[", "a|"])
def test_an_answer_that_repeats_itself_is_empty_or_rejected(piece: str) -> None:
    text = clean_answer(piece * 3000)
    assert not text or reject_reason(text)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["", "Sure!\n\n", "Here's a detailed description, based on the image:\n\n", "## Description\n\n"]),
    st.lists(st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(STATEMENTS)), min_size=1, max_size=6),
    st.sampled_from(["", "\n\nDo you want me to describe another image?", "\n\n---\n\n*This is not a diagnosis.*"]),
)
def test_statements_are_kept_in_any_layout(preamble: str, items: list[tuple[str, str]], closing: str) -> None:
    answer = preamble + "\n\n".join(layout.format(text) for layout, text in items) + closing
    assert clean_answer(answer) == " ".join(text for _, text in items)


def test_real_descriptions_lose_talk_and_markdown_and_nothing_else() -> None:
    """140 descriptions by Gemma 3 4B: each list item is kept whole, and nothing is added."""
    if not REAL.is_file():
        pytest.skip("no descriptions of a real model in ../shared/data/derm_mllm")
    with REAL.open(newline="", encoding="utf-8") as file:
        answers = [row["caption"] for row in csv.DictReader(file)]
    assert len(answers) == 140
    for answer in answers:
        text = clean_answer(answer)
        items = re.findall(r"^\*\s+\*\*(.*?):\*\*\s*(.*?)\s*$", answer, re.MULTILINE)
        said = [clean_text(f"{label}: {item}") for label, item in items if label != "Disclaimer"]
        assert len(said) >= 8
        assert text == " ".join(item if item.endswith(".") else f"{item}." for item in said)
        assert reject_reason(text) is None
        assert reject_reason(clean_text(answer)) is None  # as a user's own caption, which is not cleaned
        assert not TALK.search(text), text
