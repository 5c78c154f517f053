"""``vapray serve``: run the service of the package ``serve`` on this machine or a cluster until interrupted.

The package of the current directory has precedence over the one installed next to vapray. The Serve config file names
its builder.
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

from vapray.config import Cluster
from vapray.errors import BackendError, ConfigError
from vapray.runtime.cluster import ray_session, require_resources, run_in_thread, suppress_stderr
from vapray.runtime.cluster_address import joined_address
from vapray.runtime.placement import ResourceDemand
from vapray.service.serve_config import ServeConfig, read_serve_config

__all__ = ["serve_until_interrupted"]

PACKAGE = Path("serve/app.py")
PROXY_MIDDLEWARES = "serve.slow_readers:proxy_middlewares"
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
    """Deploy the service, print its URLs, and wait for Ctrl-C or SIGTERM.

    Args:
        file: Serve config file; None for ``serve/laptop.yaml``.
        checkpoints: ``PATH`` or ``NAME=PATH``; they replace the models of the file.
        host: Address to listen on; None for the file's.
        port: Port to listen on; None for the file's.
        keys: File of API keys; None for the file's.
        address: Address of a Ray cluster; None embeds Ray.

    Raises:
        ConfigError: the file or an argument is invalid.
        BackendError: Ray does not start, or a model cannot be deployed; names the cause.
    """
    root = _find_package()
    if not (file or checkpoints):
        found = " or ".join(map(str, sorted(Path().glob("runs/*/checkpoints/*/files/final"))[:3]))
        found = found or "RUN/checkpoints/FINGERPRINT/files/final"
        raise ConfigError(f"no model to serve. Fix: give --checkpoint {found}.")
    settings = read_serve_config(file or str(root / DEFAULT_FILE)).with_overrides(
        _models(checkpoints), keys, host, port
    )
    if settings.host not in LOOPBACK and not settings.args.get("api_keys_file"):
        raise ConfigError(
            f"http_options.host = {settings.host}: reachable from other machines, and no API keys are set. Fix: create "
            "one with `vapray create-key NAME --file keys.yaml` and give --api-keys keys.yaml, or listen on 127.0.0.1."
        )
    if not joined_address(Cluster(address=address)):  # a Serve that already runs uses the port itself
        _require_free(settings.host, settings.port)
    _make_importable(root)
    module = _module(settings.import_path)
    needed = module.validate_args(settings.args)
    application = module.build(settings.args)
    os.environ.setdefault("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", PROXY_MIDDLEWARES)
    with ray_session(Cluster(address=address)):
        for name, most in needed.items():  # one at a time: they may belong to different replicas
            require_resources(ResourceDemand("a replica of the service", {name: most}))
        _deploy(application, settings)


def _deploy(application: Any, settings: ServeConfig) -> None:
    from ray import serve
    from ray.exceptions import RayError

    print("[serve] loading models", flush=True)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        try:
            serve.start(http_options=dict(settings.http_options), logging_config=dict(settings.logging_config))
        except (RayError, TimeoutError) as error:
            raise BackendError(
                f"Ray Serve did not start its HTTP proxy: {str(error).strip().splitlines()[-1]} Fix: run the command "
                "again when the machine is less busy; a proxy may take one minute to start."
            ) from error
        try:
            run_in_thread(lambda: serve.run(application, name=settings.name, route_prefix=settings.route_prefix))
        except RuntimeError as error:
            raise BackendError(_why_not(serve.status(), settings.name, error)) from error
        _say_where(settings)
        threading.Event().wait()
    finally:
        with suppress_stderr(), suppress(Exception):  # errors and output of a Serve that ends do not matter
            serve.delete(settings.name)  # finishes pending requests; leaves other applications of the cluster alone


def _why_not(status: Any, name: str, error: RuntimeError) -> str:
    """Error text of a failed deployment: the last line of each replica's traceback."""
    application = status.applications.get(name)
    deployments = application.deployments.items() if application else ()
    failed = {name: deployment.message.strip() for name, deployment in deployments if deployment.status in FAILED}
    reasons = [f"{name}: {message.splitlines()[-1]}" for name, message in failed.items() if message]
    return "\n  ".join(["the service could not be deployed:", *(reasons or [str(error)])])


def _say_where(settings: ServeConfig) -> None:
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - no address to connect to
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
        name, equals, path = given.partition("=")
        if not equals or "/" in name:  # a path may contain = too
            name, path = "vapray" if alone else f"vapray-{number}", given
        models.append({"name": name, "checkpoint": path})
    return models


def _find_package() -> Path:
    """Folder that contains the package ``serve``: the current directory or the installation of vapray."""
    return Path.cwd() if PACKAGE.is_file() else Path(__file__).resolve().parents[2]


def _make_importable(root: Path) -> None:
    """Make the package importable here and in the workers of an embedded Ray."""
    sys.path.insert(0, str(root))
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


def _module(import_path: str) -> ModuleType:
    module, _, name = import_path.partition(":")
    if name != "build":
        raise ConfigError(f"import_path = {import_path}: unknown builder. Accepted: serve.app:build.")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"import_path = {import_path}: {error}. Accepted: serve.app:build.") from None


def _require_free(host: str, port: int) -> None:
    """Check that the port is free; Serve would report it half a minute later."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise ConfigError(f"{host}:{port}: cannot listen ({why}). Fix: give another --port.") from None
