"""Prompt sets are data: what is shipped is whole, what is wrong is refused by name."""

from pathlib import Path

import pytest

from vapray.captioning.prompt_set import known_prompt_sets, load_prompt_set
from vapray.errors import ConfigError

MINIMAL = """
name: retina
number: 3
questions: {impression: Describe., knowledge: "What may be seen?", reasoning: Shortly.}
attributes:
  disc: {kind: choice, words: {round: [round], oval: [oval]}}
"""


@pytest.mark.parametrize("name", known_prompt_sets())
def test_shipped_sets_are_whole(name: str) -> None:
    prompt_set = load_prompt_set(name)
    assert prompt_set.name == name
    assert all((prompt_set.questions.impression, prompt_set.questions.knowledge, prompt_set.questions.reasoning))
    assert prompt_set.texts.reasoning[-1].when == {}
    assert prompt_set.texts.impression[-1].when == {}
    slots = "".join(prompt_set.texts.reasoning[-1].texts)
    assert all(f"{{{attribute}}}" in slots for attribute in prompt_set.attributes)


def test_three_modalities_are_shipped() -> None:
    assert known_prompt_sets() == ("chest_xray", "colonoscopy", "dermoscopy")


def test_the_paper_s_dermoscopy_questions_stand_as_printed() -> None:
    questions = load_prompt_set("dermoscopy").questions
    assert questions.impression.endswith(
        "Describe the information you observe from the image without providing any conclusions."
    )
    assert questions.knowledge.startswith(
        "Skin lesions may present with diverse shapes, colors, sizes, and texture features."
    )
    assert "you can just describe their approximate proportion in the whole image" in questions.reasoning


def test_a_user_adds_a_modality_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "retina.yaml"
    path.write_text(MINIMAL)
    prompt_set = load_prompt_set(path)
    assert prompt_set.name == "retina"
    assert prompt_set.attributes["disc"].values == ("round", "oval")
    assert prompt_set.version.startswith("3-")


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    versions = []
    for index, text in enumerate((MINIMAL, MINIMAL, MINIMAL.replace("Shortly.", "Briefly."))):
        path = tmp_path / f"{index}.yaml"
        path.write_text(text)
        versions.append(load_prompt_set(path).version)
    assert versions[0] == versions[1] != versions[2]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"dermatology.*chest_xray, colonoscopy, dermoscopy"):
        load_prompt_set("dermatology")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list",
        "{unclosed",
        MINIMAL.replace("choice", "colour"),
        MINIMAL.replace("questions", "question"),
        MINIMAL.replace("kind: choice", "kind: share"),
        MINIMAL.replace("{kind: choice,", "{kind: choice, reads: {square: [square]},"),
        MINIMAL.replace("number: 3", "number: three"),
        MINIMAL.replace("knowledge:", "background:"),
    ],
)
def test_a_broken_file_is_a_config_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_prompt_set(path)


def test_a_missing_file_is_a_config_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_prompt_set(tmp_path / "absent.yaml")
