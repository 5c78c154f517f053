"""A prompt set that its captioner cannot work with is refused before anything is done."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bad_inputs.refusal import CONFIG, refused
from vapray.captioning.prompt_selection import select_prompt_set
from vapray.captioning.prompt_set import known_prompt_sets
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.doctor.models import check
from vapray.pipeline.dry_run import plan_run
from vapray.pipeline.runner import run_pipeline

MEASURED = yaml.safe_load((files("vapray.captioning.prompts") / "dermoscopy.yaml").read_text("utf-8"))
SHAPE = MEASURED["attributes"]["shape"]
ROUGH = {"kind": "choice", "words": {"irregular": ["irregular"]}}
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "another attribute": ({"attributes": {"form": SHAPE}}, "form is unknown; dermoscopy has shape, outline"),
    "a word less": ({"attributes": {"outline": ROUGH}}, "outline needs the kind choice and words for smooth"),
    "another kind": (
        {"attributes": {"shape": SHAPE | {"kind": "set"}}},
        "shape needs the kind choice and words for round",
    ),
    "no texts": ({"texts": {}}, "texts.impression has no template without a condition"),
}


def chosen(path: Path, *words: str) -> Config:
    root = f"run.root={path.parent / 'run'}"
    return load_config(None, [root, f"data.root={path.parent / 'pictures'}", f"caption.prompt_set={path}", *words])


@pytest.mark.parametrize(("changes", "words"), CHANGES.values(), ids=CHANGES)
def test_the_measured_captioner_refuses_a_prompt_set_it_cannot_measure_for(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MEASURED | changes))
    for act in (run_pipeline, plan_run):
        said = refused(CONFIG, lambda act=act: act(chosen(path, "caption.captioner=measured")), path, words)
        assert "Fix: set caption.prompt_set to dermoscopy, or caption.captioner to vllm, openai or precomputed" in said
    assert {entry.name for entry in tmp_path.iterdir()} == {"mine.yaml"}
    assert next(check(chosen(path))).exit_code == CONFIG


def test_the_same_prompt_set_serves_a_captioner_that_asks_a_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MEASURED | {"name": "mri"}))
    assert select_prompt_set(chosen(path, "caption.captioner=openai", "caption.model=any")).name == "mri"


@pytest.mark.parametrize("name", known_prompt_sets())
def test_every_phantom_can_be_captioned_with_its_own_prompt_set(name: str) -> None:
    assert (
        select_prompt_set(load_config(None, [f"data.modality={name}", "caption.captioner=ground_truth"])).name == name
    )
