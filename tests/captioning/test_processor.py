"""Processors with code of their own run it only where the engine may run it too."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from vapray.captioning.vllm_chat import load_processor
from vapray.captioning.vlm_files import find_vlm
from vapray.config import Vllm

CODE = """
from transformers import ProcessorMixin


class OwnProcessor(ProcessorMixin):
    attributes = []

    @classmethod
    def from_pretrained(cls, *names, **options):
        return cls()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Model folder whose processor is in a file of its own, as its ``auto_map`` says."""
    (tmp_path / "own_processor.py").write_text(CODE)
    card = {"processor_class": "OwnProcessor", "auto_map": {"AutoProcessor": "own_processor.OwnProcessor"}}
    (tmp_path / "processor_config.json").write_text(json.dumps(card))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    return tmp_path


@pytest.mark.skipif(not find_spec("transformers"), reason="needs transformers")
def test_trust_remote_code_of_the_engine_holds_for_the_processor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder / "cache"))
    monkeypatch.setattr(sys, "path", [*sys.path])  # the cache is added to it
    trusted = load_processor(folder, Vllm(engine_args={"trust_remote_code": True}))
    assert type(trusted).__name__ == "OwnProcessor"
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_processor(folder, Vllm())


def test_the_code_of_a_folder_is_a_part_of_its_revision(folder: Path) -> None:
    before = find_vlm(str(folder)).revision
    (folder / "own_processor.py").write_text(f"{CODE}\n# changed\n")
    assert find_vlm(str(folder)).revision != before
