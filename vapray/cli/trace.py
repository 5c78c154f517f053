"""Command line: ``vapray trace``."""

import re
from typing import Annotated

import typer

from vapray.cli.cli_runtime import Debug, exit_on_error, write_page

__all__ = ["trace"]


def trace(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder or URI of a run.")],
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Id of a real image, or of a generated sample.")],
    html: Annotated[
        str | None, typer.Option("--html", help="File of the page. Default: trace-IMAGE.html in this folder.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            max=2**64 - 1,
            help="Seed of the denoising. Default: that of the sample, 0 for a real image.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Show one image's way through a finished run on an HTML page: caption, prototypes, denoising, neighbours."""
    with exit_on_error(debug):
        from vapray.trace import trace_image
        from vapray.trace.page import render_trace

        traced = trace_image(run, image, seed=seed)
        write_page(html or f"trace-{re.sub(r'[^A-Za-z0-9._-]+', '_', image)}.html", render_trace(traced))
        for name, why in traced.missing():
            print(f"left out  {name}: {why}")
