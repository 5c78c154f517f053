"""``vapray serve``: the service of the package ``serve`` on this machine or on a cluster, until somebody ends it.

The package travels with the working directory and is nobody's dependency: it is found where one stands, or beside an
editable installation, and its builder is named as in the Serve config file.
"""

import importlib
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from vapray.cluster import connected, readable_errors, require, run_interruptible, silent_stderr
from vapray.config import Cluster
from vapray.errors import BackendError, ConfigError
from vapray.placement import Demand
from vapray.serve_file import ServeFile, read_serve_file

__all__ = ["serve_until_interrupted"]

PACKAGE = Path("serve/app.py")
DEFAULT_FILE = "serve/laptop.yaml"
FAILED = ("UNHEALTHY", "DEPLOY_FAILED")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve_until_interrupted(
    file: str | None,
    checkpoints: Sequence[str],
    *,
    host: str | None,
    port: int | None,
    keys: str | None,
    address: str | None,
) -> None:
    """Deploy, say where, and wait for Ctrl-C or SIGTERM.

    Args:
        file: Serve config; None for the laptop's.
        checkpoints: ``PATH`` or ``NAME=PATH``; they take the place of the file's models.
        host: to listen on.
        port: to listen on.
        keys: file of API keys.
        address: of a cluster; None embeds Ray.

    Raises:
        ConfigError: all that is wrong with file and arguments.
        BackendError: Ray does not start, or a model cannot be deployed; says why.
    """
    root = _find_package()
    if not (file or checkpoints):
        found = " or ".join(map(str, sorted(Path().glob("runs/*/checkpoints/*/files/final"))[:3]))
        raise ConfigError(f"no model to serve. Give --checkpoint {found or 'RUN/checkpoints/FINGERPRINT/files/final'}.")
    settings = read_serve_file(file or str(root / DEFAULT_FILE)).given(_models(checkpoints), keys, host, port)
    if settings.host not in LOOPBACK and not settings.args.get("api_keys_file"):
        raise ConfigError(
            f"http_options.host = {settings.host}: others than this machine could ask, and no keys are set. Make one "
            "with `vapray key NAME --file keys.yaml` and give --keys keys.yaml, or listen on 127.0.0.1."
        )
    if not (address or os.environ.get("RAY_ADDRESS")):  # a running Serve listens there already
        _require_free(settings.host, settings.port)
    _make_importable(root)
    module = _module(settings.import_path)
    needed = module.validate_args(settings.args)
    application = module.build(settings.args)
    with connected(Cluster(address=address)):
        for name, most in needed.items():  # each alone, for they may be of different replicas
            require(Demand("a replica of the service", {name: most}))
        _deploy(application, settings)


def _deploy(application: Any, settings: ServeFile) -> None:
    from ray import serve

    print("[serve] loading models", flush=True)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        with readable_errors("Ray Serve"):
            serve.start(http_options=dict(settings.http_options), logging_config=dict(settings.logging_config))
        try:
            run_interruptible(lambda: serve.run(application, name=settings.name, route_prefix=settings.route_prefix))
        except RuntimeError as error:
            raise BackendError(_why_not(serve.status(), settings.name, error)) from error
        _say_where(settings)
        threading.Event().wait()
    finally:
        with silent_stderr(), suppress(Exception):  # whatever Serve says on its way out: it ends
            serve.delete(settings.name)  # answers what is under way; what else a cluster serves is nobody's business


def _why_not(status: Any, name: str, error: RuntimeError) -> str:
    """What Serve knows of a failed deployment: the last line of the replica's traceback."""
    application = status.applications.get(name)
    deployments = application.deployments.items() if application else ()
    failed = {name: deployment.message.strip() for name, deployment in deployments if deployment.status in FAILED}
    reasons = [f"{name}: {message.splitlines()[-1]}" for name, message in failed.items() if message]
    return "\n  ".join(["the service could not be deployed:", *(reasons or [str(error)])])


def _say_where(settings: ServeFile) -> None:
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - where it listens is not an address
    base = f"http://{host}:{settings.port}{settings.route_prefix.rstrip('/')}"
    key = ' -H "Authorization: Bearer $KEY"' if settings.args.get("api_keys_file") else ""
    names = ", ".join(model["name"] for model in settings.args["models"])
    body = json.dumps({"bank": "draw", "label": 0, "seed": 7})
    print(f"[serve] {names} ready. Synthetic images; not for clinical use. Ctrl-C ends.")
    print(f"  studio  {base}/\n  API     {base}/v1\n  try     curl {base}/v1/images/generations{key} \\")
    print(f"              -H 'Content-Type: application/json' -d '{body}'", flush=True)


def _models(checkpoints: Sequence[str]) -> list[dict[str, str]]:
    alone = len(checkpoints) == 1
    models = []
    for number, given in enumerate(checkpoints):
        name, equals, path = given.rpartition("=")
        models.append({"name": name if equals else "vapray" if alone else f"vapray-{number}", "checkpoint": path})
    return models


def _find_package() -> Path:
    places = (Path.cwd(), Path(__file__).resolve().parents[1])
    found = next((place for place in places if (place / PACKAGE).is_file()), None)
    if found is None:
        raise ConfigError(
            f"{PACKAGE} is neither here ({places[0]}) nor beside the installed vapray: the service is part of the "
            "project's folder, not of the wheel. Run `vapray serve` in a checkout."
        )
    return found


def _make_importable(root: Path) -> None:
    """Here, and in the workers of an embedded Ray."""
    sys.path.insert(0, str(root))
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


def _module(import_path: str) -> ModuleType:
    module, _, name = import_path.partition(":")
    if name != "build":
        raise ConfigError(f"import_path = {import_path}: wanted serve.app:build.")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"import_path = {import_path}: {error}. Wanted serve.app:build.") from None


def _require_free(host: str, port: int) -> None:
    """Serve would say so half a minute later."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise ConfigError(f"{host}:{port} cannot be listened on ({why}). Give another --port.") from None
