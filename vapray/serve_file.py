"""A Serve config file, read strictly: Serve itself passes over keys that it does not know."""

import copy
import difflib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from vapray.config.renamed_keys import SERVICE_KEYS, apply_renamed_keys
from vapray.errors import ConfigError
from vapray.strict_yaml import parse_yaml

__all__ = ["ServeFile", "parse_serve_config", "read_serve_file"]

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeFile:
    """What a Serve config file says of the service."""

    name: str
    """Of the application."""
    route_prefix: str
    import_path: str
    """``module:builder``."""
    args: dict[str, Any]
    """Of the builder."""
    http_options: Mapping[str, Any]
    logging_config: Mapping[str, Any]

    @property
    def host(self) -> str:
        """That the proxies listen on."""
        return str(self.http_options.get("host", "127.0.0.1"))

    @property
    def port(self) -> int:
        """That the proxies listen on."""
        return int(self.http_options.get("port", 8000))

    def given(self, models: list[dict[str, str]], keys: str | None, host: str | None, port: int | None) -> Self:
        """The same with what a command line says; None and nothing leave what the file says."""
        said = {"models": models, "api_keys_file": keys}
        options = {"host": host, "port": port}
        return replace(
            self,
            args=copy.deepcopy(self.args) | {name: value for name, value in said.items() if value},
            http_options={**self.http_options, **{name: value for name, value in options.items() if value is not None}},
        )


def read_serve_file(path: str) -> ServeFile:
    """Read a file that holds one application.

    Raises:
        ConfigError: every key that Serve does not know or cannot take, in one error.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}). Give a Serve config file such as serve/laptop.yaml."
        ) from None
    return parse_serve_config(text, where=path)


def parse_serve_config(text: str, *, where: str) -> ServeFile:
    """The same for a text that stands elsewhere, such as in a manifest.

    Raises:
        ConfigError: every key that Serve does not know or cannot take, in one error.
    """
    tree, _ = parse_yaml(text, where=where)
    if problems := list(_problems(tree)):
        raise ConfigError("\n  ".join([f"{where}:", *problems]))
    (application,) = tree["applications"]
    return ServeFile(
        name=application["name"],
        route_prefix=application["route_prefix"],
        import_path=application["import_path"],
        args=apply_renamed_keys(application.get("args", {}), SERVICE_KEYS, source=f"{where}: args", warn=LOG.warning),
        http_options=tree.get("http_options", {}),
        logging_config=tree.get("logging_config", {}),
    )


def _problems(tree: Any) -> Iterator[str]:
    from ray.serve.schema import (
        DeploymentSchema,
        HTTPOptionsSchema,
        LoggingConfig,
        RayActorOptionsSchema,
        ServeApplicationSchema,
        ServeDeploySchema,
    )

    if not isinstance(tree, dict):
        yield "wanted keys such as `applications:`."
        return
    try:
        ServeDeploySchema.model_validate(tree)
    except ValidationError as error:
        for problem in error.errors():
            yield f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}."
        return
    yield from _unknown(tree, ServeDeploySchema, "")
    yield from _unknown(tree.get("http_options"), HTTPOptionsSchema, "http_options.")
    yield from _unknown(tree.get("logging_config"), LoggingConfig, "logging_config.")
    if len(tree["applications"]) != 1:
        yield "applications: wanted a list of one application."
    for application in tree["applications"]:
        yield from _unknown(application, ServeApplicationSchema, "applications.")
        for key in ("name", "route_prefix", "import_path"):
            if not isinstance(application.get(key), str):
                yield f"applications.{key}: wanted a text."
        for deployment in application.get("deployments") or ():
            yield from _unknown(deployment, DeploymentSchema, "applications.deployments.")
            options = deployment.get("ray_actor_options")
            yield from _unknown(options, RayActorOptionsSchema, "applications.deployments.ray_actor_options.")


def _unknown(found: Any, schema: type[BaseModel], where: str) -> Iterator[str]:
    for key in found if isinstance(found, dict) else ():
        if key not in schema.model_fields:
            near = difflib.get_close_matches(key, schema.model_fields, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(schema.model_fields)}."
            yield f"unknown key {where}{key}.{hint}"
