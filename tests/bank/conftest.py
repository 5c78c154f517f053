"""Text towers of open_clip and transformers: small random models in the layouts of the real ones."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.bank import tiny_models
from vapray.bank.factory import build_text_encoder
from vapray.bank.text_encoder import TextEncoder
from vapray.config import TextEncoderSection

TEXTS = [
    "a brown lesion",
    "A large, irregular blue nevus with an oval outline and white texture.",
    "skin",
    "dark 35 % lesion of oval outline",
]


def are_installed(*packages: str) -> bool:
    """Without importing them, which takes seconds in every process that collects."""
    return all(map(find_spec, packages))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {
        "biomedclip": tiny_models.biomedclip(base / "biomedclip"),
        "bert": tiny_models.bert(base / "bert"),
        "clip": tiny_models.clip(base / "clip"),
    }


KINDS = {"biomedclip": "open_clip", "bert": "transformers", "clip": "transformers"}


def encoder_of(folder: Path | str, kind: str, **settings: Any) -> TextEncoder:
    return build_text_encoder(
        TextEncoderSection.model_validate({"encoder": kind, "model": str(folder), "max_tokens": 32, **settings})
    )


def opened(folders: dict[str, Path], name: str, **settings: Any) -> TextEncoder:
    return encoder_of(folders[name], KINDS[name], **({"max_tokens": 77} if name == "clip" else {}), **settings)
