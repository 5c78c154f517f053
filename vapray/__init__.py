"""vapray: VAP-Diffusion (arXiv 2506.23641) as a distributed system on Ray. Not for clinical use.

The public names below are imported on first use, so that ``import vapray`` loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vapray import metrics
    from vapray.bank.prompt_bank import PromptBank
    from vapray.config.loader import load_config
    from vapray.pipeline.runner import run_pipeline
    from vapray.sampling.sampler import Sampler

__version__ = "0.2.0"
__all__ = ["PromptBank", "Sampler", "__version__", "load_config", "metrics", "run_pipeline"]

_MODULES = {
    "PromptBank": "vapray.bank.prompt_bank",
    "Sampler": "vapray.sampling.sampler",
    "load_config": "vapray.config.loader",
    "run_pipeline": "vapray.pipeline.runner",
}


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return import_module("vapray.metrics")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'vapray' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
