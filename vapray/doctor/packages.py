"""Checks of the versions of Python and of the required packages."""

import importlib
import importlib.metadata
import re
import sys
from collections.abc import Iterator

from vapray.doctor.findings import Finding, failed, ok

__all__ = ["check"]

MIN_PYTHON, UNSUPPORTED_PYTHON = (3, 11), (3, 14)
# Equal to the dependencies in pyproject.toml; a test compares them.
MIN_VERSIONS = {
    "torch": "2.11",
    "torchvision": "0",
    "ray": "2.56",
    "diffusers": "0.42",
    "torchmetrics": "1.9",
    "pydantic": "2.12",
    "pyyaml": "6",
    "typer": "0.20",
    "rich": "14",
    "pyarrow": "20",
    "fsspec": "2025.5",
    "safetensors": "0.6",
    "numpy": "2",
    "scipy": "1.15",
    "scikit-image": "0.26",
    "pillow": "11",
    "jinja2": "3.1",
}
MODULES = {"pyyaml": "yaml", "scikit-image": "skimage", "pillow": "PIL"}
INSTALL = "Reinstall: make clean demo, or pip install --constraint constraints.txt ."


def check() -> Iterator[Finding]:
    """Check the version of Python, then all packages in one finding."""
    python = ".".join(map(str, sys.version_info[:3]))
    if MIN_PYTHON <= sys.version_info[:2] < UNSUPPORTED_PYTHON:
        yield ok("python", python)
    else:
        yield failed("python", f"{python}; supported: 3.11 to 3.13", "Recreate .venv with a supported Python.", 5)
    versions = {name: _version(name) for name in MIN_VERSIONS}
    wrong = [
        f"{name} {versions[name] or 'missing'} (required: {least} or newer)"
        for name, least in MIN_VERSIONS.items()
        if _numbers(versions[name] or "") < _numbers(least) or versions[name] is None
    ]
    if wrong:
        yield failed("packages", ", ".join(wrong), INSTALL, 5)
    else:
        yield ok("packages", ", ".join(f"{name} {versions[name]}" for name in ("torch", "ray", "diffusers", "pyarrow")))


def _version(name: str) -> str | None:
    """Read the version from the metadata of the package, or else from its module; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        return str(getattr(importlib.import_module(MODULES.get(name, name)), "__version__", "0"))
    except ImportError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
