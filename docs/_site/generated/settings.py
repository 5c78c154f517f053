"""Every setting of a run and of the service, from the pydantic models."""

import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from generated import definition, sentence
from serve.settings import ServiceSettings
from vapray.config import Config
from vapray.config.loader import load_config

__all__ = ["accepted", "entries", "markdown"]

BOUNDS = ((annotated_types.Ge, "ge", "≥"), (annotated_types.Gt, "gt", ">"), (annotated_types.Le, "le", "≤"),
          (annotated_types.Lt, "lt", "<"))  # fmt: skip
LARGEST_STATED = 2**53  # larger bounds are those of 64-bit integers, which the help text states
NAMES = {int: "integer", float: "number", str: "text", bool: "`true` or `false`", type(None): "null"}


def markdown() -> str:
    """Describe the settings of a run section by section, then those of the service."""
    texts = [*_sections(Config, load_config(preset="modern"))]
    texts += ["## Settings of the service", sentence(ServiceSettings.__doc__)]
    texts.append("They are the `args` of a Serve config file, such as `serve/laptop.yaml`.")
    texts += [*entries(ServiceSettings, "", None)]
    return "\n\n".join(texts)


def _sections(model: type[BaseModel], modern: BaseModel) -> Iterator[str]:
    for name, field in model.model_fields.items():
        section: Any = field.annotation
        yield f"## {name}"
        yield sentence(section.__doc__)
        yield from entries(section, f"{name}.", getattr(modern, name))


def entries(model: type[BaseModel], prefix: str, modern: BaseModel | None) -> Iterator[str]:
    """Describe each setting of a model as a definition: key, accepted values, default, help.

    Args:
        model: section of settings.
        prefix: dotted key of the section, with its last dot.
        modern: the section in the preset ``modern``, whose other values are stated too; None: no preset.
    """
    for name, field in model.model_fields.items():
        key, section = f"{prefix}{name}", _section(field.annotation)
        if section and not isinstance(field.default, tuple):
            other = getattr(modern, name) if modern is not None else None
            if field.description:
                yield definition(key, "section", field.description)
            yield from entries(section, f"{key}{_item(field)}.", other)
            continue
        default = field.get_default(call_default_factory=True)
        known = "required" if field.is_required() else f"default `{_value(default)}`"
        if modern is not None and (changed := getattr(modern, name)) != default:
            known += f", preset modern `{_value(changed)}`"
        yield definition(key, f"{accepted(field)}, {known}", field.description)


def accepted(field: FieldInfo) -> str:
    """Describe the accepted values of a field: its type, choices and bounds."""
    return _kind(field.annotation, field.metadata)


def _kind(kind: Any, metadata: Any = ()) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _kind(arguments[0], (*arguments[1:], *metadata))
    if origin is Literal:
        return ", ".join(f"`{_value(one)}`" for one in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(one, metadata if one in (int, float, str) else ()) for one in arguments)
    if origin in (tuple, list):
        return f"list of {_plural(_kind(arguments[0]))}"
    if origin is dict:
        return f"map from {_kind(arguments[0])} to {_kind(arguments[1])}"
    return f"{NAMES.get(kind, getattr(kind, '__name__', str(kind)))}{_bounds(metadata)}"


def _bounds(metadata: Any) -> str:
    flat = [one for item in metadata for one in (getattr(item, "metadata", None) or [item])]
    bounds = [(getattr(one, at), sign) for kind, at, sign in BOUNDS for one in flat if isinstance(one, kind)]
    found = [f"{sign} {bound:g}" for bound, sign in bounds if bound < LARGEST_STATED]
    return f" {' and '.join(found)}" if found else ""


def _plural(kind: str) -> str:
    return re.sub(r"^(integer|number|text)", r"\1s", kind)


def _section(kind: Any) -> type[BaseModel] | None:
    found = [kind, *get_args(kind)]
    return next((one for one in found if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _item(field: FieldInfo) -> str:
    return "[]" if get_origin(field.annotation) is tuple else ""


def _value(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, tuple):
        value = list(value)
    if value == "":
        return '""'
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
