"""Presets: packaged settings below those of a file."""

from importlib.resources import files
from typing import Any

from vapray.config.strict_yaml import parse_yaml
from vapray.errors import ConfigError

__all__ = ["PRESET", "PRESETS", "Places", "over_preset"]

PRESETS = ("modern", "paper")
"""Packaged recipes; ``paper`` is the defaults of every setting."""
PRESET = "preset"
"""Key of a file that names its preset."""
Places = dict[tuple[str, ...], str]
"""Path of a key -> where its value was given."""


def over_preset(tree: dict[str, Any], places: Places, preset: str | None) -> dict[str, Any]:
    """Put the values of a file over those of the preset that is given, or that the file names."""
    named = tree.pop(PRESET, None)
    source = "--preset" if preset else places.pop((PRESET,), "")
    if (name := preset or named) is None:
        return tree
    if name not in PRESETS:
        raise ConfigError(f"{source}: preset = {name}: unknown. Accepted: {', '.join(PRESETS)}.")
    base, lines = parse_yaml((files("vapray.config.presets") / f"{name}.yaml").read_text(encoding="utf-8"), where=name)
    for path in lines.keys() - places.keys():
        places[path] = f"preset {name}"
    return _merge(base or {}, tree)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge sections; other values of ``over`` replace those of ``base``."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
