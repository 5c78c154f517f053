"""Command line: ``vapray export``."""

from typing import Annotated

import typer

from vapray.cli.cli_runtime import Debug, exit_on_error

__all__ = ["export"]


def export(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="Folder files/final of a checkpoint, or its URI.")
    ],
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Output folder: new, empty, or an earlier export.")],
    weights: Annotated[str, typer.Option("--weights", help="ema (moving average) or raw (last step).")] = "ema",
    without_bank: Annotated[
        bool, typer.Option("--without-bank", help="Do not export the captions of the training images.")
    ] = False,
    with_text_encoder: Annotated[
        bool,
        typer.Option("--with-text-encoder", help="Also export the files of an open_clip or transformers text encoder."),
    ] = False,
    accept_unaudited: Annotated[
        bool,
        typer.Option(
            "--accept-unaudited", help="Export without a passed memorisation audit; the model card reports it."
        ),
    ] = False,
    accept_unknown_licences: Annotated[
        bool,
        typer.Option(
            "--accept-unknown-licences",
            help="Export although the licence of a training image is unknown; the model card reports it.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Export a trained model as a diffusers folder that loads without vapray and generates the same pixels."""
    with exit_on_error(debug):
        from vapray.export.folder import export_checkpoint

        exported = export_checkpoint(
            checkpoint,
            folder,
            weights=weights,
            with_bank=not without_bank,
            with_text_encoder=with_text_encoder,
            accept_unaudited=accept_unaudited,
            accept_unknown_licences=accept_unknown_licences,
        )
        for name, size in exported.files.items():
            print(f"{size:>14,} bytes  {folder}/{name}")
        print("\n" + "\n".join(exported.origins))
        print("\nLoading needs torch, diffusers and safetensors, but not vapray. Not for clinical use.\n")
        print("\n".join(f"  {line}" for line in exported.lines))
