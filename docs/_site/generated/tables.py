"""Stages and tables of a run, from the code that defines them."""

import importlib

from generated import definition
from vapray.config import Config
from vapray.pipeline.stages import STAGES, tables_read
from vapray.store.tables import TABLES

__all__ = ["markdown"]


def markdown() -> str:
    """List the stages with their inputs and outputs, then the columns of every table."""
    rows = ["| Stage | Reads | Writes | Settings that decide its result |", "|---|---|---|---|"]
    for stage in STAGES:
        reads = ", ".join(f"`{table}`" for table in tables_read(stage, Config())) or "a dataset folder"
        rows.append(f"| `{stage.name}` | {reads} | `{stage.writes}` | {_sections(stage.config_keys)} |")
    texts = ["## Stages", "\n".join(rows), "## Columns", _array_layout()]
    for table in TABLES.values():
        columns = ", ".join(f"`{field.name}` {field.type}" for field in table.schema)
        texts.append(definition(table.name, f"key `{table.key}`", columns))
    return "\n\n".join(texts)


def _sections(keys: tuple[str, ...]) -> str:
    found = dict.fromkeys(key.partition(".")[0] for key in keys)
    return ", ".join(f"`{name}`" for name in found)


def _array_layout() -> str:
    """Return the paragraph of the module that states how arrays are stored."""
    text = importlib.import_module(TABLES["images"].__class__.__module__).__doc__ or ""
    start = text.index("Arrays are stored")
    first, _, rest = text[start:].partition("\n")
    block = rest.split("\n\n")[0]
    return f"{first}\n\n```text\n{block}\n```"
