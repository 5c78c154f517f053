"""CLI commands ``serve``, ``studio`` and ``create-key``; their imports are local so that ``--help`` is fast."""

from typing import Annotated

import typer

from vapray.cli.cli_runtime import Debug, exit_on_error, renamed_option, warn_of_old_name
from vapray.errors import ConfigError

__all__ = ["create_key", "serve", "studio"]


def serve(
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--checkpoint",
            metavar="[NAME=]PATH",
            help="A files/final folder; replaces the models of --config. Repeatable.",
        ),
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="Serve config file. Default: serve/laptop.yaml.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on; all but 127.0.0.1 need --api-keys.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = None,
    api_keys: Annotated[
        str | None, typer.Option("--api-keys", help="File of API keys, written by `vapray create-key`.")
    ] = None,
    keys: Annotated[str | None, typer.Option("--keys", hidden=True, callback=renamed_option("--api-keys"))] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Address of a Ray cluster. Default: embedded Ray.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Serve models: an OpenAI-compatible API and a web page to try it."""
    with exit_on_error(debug, interrupted="Server stopped."):
        from vapray.service.serving import serve_until_interrupted

        if api_keys and keys:
            raise ConfigError("--api-keys and its old name --keys: got both. Fix: give --api-keys only.")

        serve_until_interrupted(config, checkpoint or (), host=host, port=port, keys=api_keys or keys, address=address)


def studio(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8000,
    debug: Debug = False,
) -> None:
    """Open the studio on weights that come with vapray, trained on drawn phantoms."""
    with exit_on_error(debug, interrupted="Server stopped."):
        from vapray.pretrained.phantoms import PHANTOM_WEIGHTS
        from vapray.service.serving import serve_until_interrupted

        serve_until_interrupted(None, [f"phantoms={PHANTOM_WEIGHTS}"], host=None, port=port, keys=None, address=None)


def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the key's owner, shown in the service's logs.")],
    file: Annotated[str, typer.Option("--file", help="YAML file of keys; created if missing.")],
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help="images, bank, evaluations, captions, neighbours or metrics. Repeatable. Default: images and bank.",
        ),
    ] = None,
    images_per_minute: Annotated[
        int | None, typer.Option("--images-per-minute", help="Rate limit. Default: none.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Create an API key and add its hash to a file; the key itself is printed once and not stored."""
    if context.info_name == "key":
        warn_of_old_name("vapray key", "vapray create-key")
    with exit_on_error(debug):
        from vapray.service.api_keys import add_key

        print(add_key(file, name, scopes or ["images", "bank"], images_per_minute))
