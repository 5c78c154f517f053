"""Bad settings of captions and prompt sets, and settings that would be without effect."""

from pathlib import Path

import pytest

from vapray.captioning.prompt_set import known_prompt_sets, load_prompt_set
from vapray.config.loader import load_config

from .refusal import CONFIG, refused

GIVEN, ASKED = "caption.captioner=precomputed", ["caption.captioner=vllm", "caption.model=owner/name"]


def test_a_source_of_one_modality_is_not_captioned_as_another() -> None:
    asked = ["data.source=chestxray14", "data.root=."]
    said = "data.modality = dermoscopy: data.source = chestxray14. Fix: set data.modality to chest_xray."
    refused(CONFIG, lambda: load_config(None, asked), said)
    said = "(data.modality = chest_xray). Fix: set caption.captioner to vllm, openai or precomputed."
    refused(CONFIG, lambda: load_config(None, [*asked, "data.modality=chest_xray"]), said)


WITHOUT_EFFECT = {
    "omission from given captions": (
        [GIVEN, "data.source=folder", "data.root=.", "caption.omit=[colours, shape]"],
        "caption.omit = colours, shape: caption.captioner = precomputed uses your captions unchanged. Fix: remove",
    ),
    "attributes that are not made wrong": (
        ["caption.captioner=ground_truth", "caption.corrupted_attributes=[shape]"],
        "caption.corrupted_attributes = shape: caption.corruption_rate is 0. Fix: set caption.corruption_rate",
    ),
    "strategy of given captions": (
        [GIVEN, "data.source=folder", "data.root=.", "caption.strategy=direct"],
        "caption.strategy = direct: your own captions are used unchanged",
    ),
    "JSON that is not asked for": (
        [*ASKED, "caption.strategy=impression", "caption.structured_output=true"],
        "caption.structured_output = True: caption.strategy = impression does not ask for JSON; direct and vaps do",
    ),
    "knowledge that is not asked for": (
        [*ASKED, "caption.strategy=direct", "caption.knowledge_variants=3"],
        "caption.knowledge_variants = 3: caption.strategy = direct asks for no knowledge",
    ),
    "revision of a directory": (
        ["caption.captioner=vllm", "caption.model=.", "caption.revision=v1"],
        "caption.revision = v1: the directory . has no revisions",
    ),
    "revision of an encoder's directory": (
        ["text_encoder.encoder=open_clip", "text_encoder.model=.", "text_encoder.revision=v1"],
        "text_encoder.revision = v1: the directory . has no revisions",
    ),
}


@pytest.mark.parametrize(("overrides", "words"), WITHOUT_EFFECT.values(), ids=WITHOUT_EFFECT)
def test_a_setting_that_would_be_without_effect(overrides: list[str], words: str) -> None:
    assert refused(CONFIG, lambda: load_config(None, overrides), words).startswith("command line: ")


def test_settings_for_another_captioner_than_the_named_one_may_wait() -> None:
    waiting = ["caption.model=owner/name", "caption.temperature=0.5", "endpoint.concurrency=2", "vllm.dtype=float16"]
    for captioner in ("measured", "openai"):
        assert load_config(None, [f"caption.captioner={captioner}", *waiting]).caption.model == "owner/name"


def test_given_captions_that_are_not_there() -> None:
    refused(
        CONFIG,
        lambda: load_config(None, [GIVEN, "caption.captions_file=gone.csv"]),
        "gone.csv: cannot be read (No such file",
    )


def test_given_captions_without_their_columns(tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("image,text\na,b\n")
    act = lambda: load_config(None, [f"caption.captions_file={table}", "caption.captioner=precomputed"])  # noqa: E731
    refused(CONFIG, act, f"{table}: no column image_id or caption; its header is 'image,text'")
    table.write_bytes(b"image_id,caption\xff\n")
    refused(CONFIG, act, f"{table}: not UTF-8")


BROKEN_PROMPTS = {
    "parts missing": (
        "name: mri\nquestions: {impression: a}\n",
        "no number, attributes, questions.knowledge, questions",
    ),
    "key twice": ("name: a\nname: b\n", "line 2, column 1: duplicate key name"),
    "a list": ("- a\n", "no name, number, questions, attributes"),
}


@pytest.mark.parametrize(("text", "words"), BROKEN_PROMPTS.values(), ids=BROKEN_PROMPTS)
def test_a_prompt_set_that_is_none(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mri.yaml"
    path.write_text(text)
    refused(CONFIG, lambda: load_prompt_set(path), path, words)


def test_the_names_that_settings_accept_are_the_prompt_sets_there_are() -> None:
    for name in known_prompt_sets():
        assert load_config(None, [f"caption.prompt_set={name}"]).prompt_set == name
    refused(CONFIG, lambda: load_config(None, ["caption.prompt_set=zzz"]), *known_prompt_sets())
