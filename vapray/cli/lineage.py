"""Command line: ``vapray lineage``."""

from typing import Annotated

import typer

from vapray.cli.cli_runtime import Debug, exit_on_error

__all__ = ["lineage"]


def lineage(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder or URI of a run.")],
    subject: Annotated[
        str, typer.Option("--subject", help="Patient or lesion, as in the dataset; or an image id where none is known.")
    ],
    debug: Debug = False,
) -> None:
    """List the tables, models and samples of a run that rest on a subject; changes nothing."""
    with exit_on_error(debug):
        from vapray.compare.subject_lineage import find_subject

        print("\n".join(find_subject(run, subject).lines()))
