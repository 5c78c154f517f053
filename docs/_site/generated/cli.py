"""Commands and options of ``vapray``, from its typer application."""

from collections.abc import Iterator
from typing import Any

import typer.main

from generated import definition, sentence
from vapray.cli.app import app
from vapray.pipeline.stage_names import STAGES_OF_JOB

__all__ = ["markdown"]

KINDS = {int: "integer", float: "number"}


def markdown() -> str:
    """Describe every command that ``vapray --help`` lists, and the entry points of jobs."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("vapray", ["doctor"], resilient_parsing=True)
    texts = [*_definitions(group.params)]
    for name, command in group.commands.items():
        if not command.hidden:
            usage = " ".join(command.collect_usage_pieces(context)).replace("...]...", "...]")
            texts += [f"## vapray {name}", sentence(command.help), f"```text\nvapray {name} {usage}\n```"]
            texts += _definitions(command.params)
    jobs = ", ".join(f"`jobs.{name}`" for name in ("pipeline", *STAGES_OF_JOB))
    texts += ["## python -m jobs.NAME", f"Entry points for `ray job submit`: {jobs}."]
    texts += ["```text\npython -m jobs.NAME [OPTIONS] [KEY=VALUE...]\n```"]
    texts += _definitions([one for one in group.commands["run"].params if one.name != "stage"])
    return "\n\n".join(texts)


def _definitions(parameters: list[Any]) -> Iterator[str]:
    for one in (each for each in parameters if not getattr(each, "hidden", False)):
        is_option = one.param_type_name == "option"
        name = ", ".join((*one.opts, *one.secondary_opts)) if is_option else one.metavar or one.name.upper()
        kind = KINDS.get(one.type_descriptor.annotation, "text") if is_option and not one.is_flag else ""
        known = f"default `{one.default}`" if one.default and not callable(one.default) else ""
        detail = ", ".join(filter(None, [kind, "required" if one.required else "", known]))
        yield definition(name, detail, one.help)
