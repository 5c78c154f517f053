"""One genuine vLLM engine over a tiny model that has learnt to see colours, for all tests that ask it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import made_once
from vapray.captioning.captioner import Captioner
from vapray.captioning.factory import build_captioner
from vapray.config import Config
from vapray.config.loader import load_config

from .tiny_vlm import build_tiny_vlm

ENGINE = [
    "vllm.max_model_len=1024",
    "vllm.max_num_seqs=8",
    "vllm.dtype=float32",
    "vllm.engine_args={enforce_eager: true, block_size: 32, max_num_batched_tokens: 1024}",
]
SHORT = ["caption.max_tokens=64", "caption.knowledge_max_tokens=64"]


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder."""
    return made_once(tmp_path_factory, "tiny_vlm", build_tiny_vlm)


@pytest.fixture(scope="session")
def vllm_config(tiny_vlm: Path) -> Config:
    """Captions by that model."""
    asked = ["caption.captioner=vllm", f"caption.model={tiny_vlm}", *SHORT, "caption.retries=1"]
    return load_config(None, [*asked, *ENGINE])


@pytest.fixture(scope="session")
def vllm_captioner(vllm_config: Config) -> Iterator[Captioner]:
    """A captioner over the genuine engine."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HF_HUB_OFFLINE", "1")
        environment.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        environment.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # other workers use the same cores
        captioner = build_captioner(vllm_config)
        yield captioner
        captioner.model.close()  # type: ignore[attr-defined]
