"""Public Python API: the names that ``vapray`` exports."""

import vapray
from generated import sentence
from vapray import metrics

__all__ = ["markdown"]


def markdown() -> str:
    """Document every public name by autodoc."""
    names = [name for name in vapray.__all__ if name not in ("__version__", "metrics")]
    texts = [_documented(f"vapray.{name}", getattr(vapray, name)) for name in sorted(names, key=_by_use)]
    texts += ["## vapray.metrics", sentence((metrics.__doc__ or "").split("\n\n")[0])]
    texts += [_documented(f"vapray.metrics.{name}", getattr(metrics, name)) for name in metrics.__all__]
    return "\n\n".join(texts)


def _by_use(name: str) -> int:
    return ["Sampler", "PromptBank", "load_config", "run_pipeline"].index(name)


def _documented(path: str, found: object) -> str:
    members = "\n   :members:\n   :exclude-members: __init__" if isinstance(found, type) else ""
    kind = "autoclass" if isinstance(found, type) else "autofunction"
    place = f"{found.__module__}.{found.__name__}"  # type: ignore[attr-defined]
    return f"## {path}\n\n```{{eval-rst}}\n.. {kind}:: {place}{members}\n```"
