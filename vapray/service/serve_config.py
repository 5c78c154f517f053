"""Strict parser of Serve config files; Serve itself ignores unknown keys."""

import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from vapray.config.renamed_keys import SERVICE_KEYS, apply_renamed_keys
from vapray.config.strict_yaml import parse_yaml
from vapray.config.validation_errors import from_pydantic, key_hint
from vapray.errors import ConfigError

__all__ = ["ServeConfig", "parse_serve_config", "read_serve_config"]

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeConfig:
    """Contents of a Serve config file with one application."""

    name: str
    """Name of the application."""
    route_prefix: str
    import_path: str
    """Builder of the application, as ``module:builder``."""
    args: dict[str, Any]
    """Arguments of the builder."""
    http_options: Mapping[str, Any]
    logging_config: Mapping[str, Any]

    @property
    def host(self) -> str:
        """Address that the proxies listen on."""
        return str(self.http_options.get("host", "127.0.0.1"))

    @property
    def port(self) -> int:
        """Port that the proxies listen on."""
        return int(self.http_options.get("port", 8000))

    def with_overrides(
        self, models: list[dict[str, Any]], keys: str | None, host: str | None, port: int | None
    ) -> Self:
        """Copy with the values of a command line; None or an empty value keeps the file's.

        The first model keeps the file's aliases, but those that ``models`` name.
        """
        first = self.args["models"][:1] if isinstance(self.args.get("models"), list) else []
        if models and first and isinstance(first[0], dict) and isinstance(first[0].get("aliases"), list):
            given = {model.get("name") for model in models}
            aliases = [alias for alias in first[0]["aliases"] if alias not in given]
            models = [{"aliases": aliases, **models[0]}, *models[1:]]
        said = {"models": models, "api_keys_file": keys}
        options = {"host": host, "port": port}
        return replace(
            self,
            args=copy.deepcopy(self.args) | {name: value for name, value in said.items() if value},
            http_options={**self.http_options, **{name: value for name, value in options.items() if value is not None}},
        )


def read_serve_config(path: str) -> ServeConfig:
    """Read a Serve config file that holds one application.

    Raises:
        ConfigError: the file cannot be read, or has unknown keys or invalid values; lists all of them.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}). Fix: give a Serve config file such as serve/laptop.yaml."
        ) from None
    return parse_serve_config(text, where=path)


def parse_serve_config(text: str, *, where: str) -> ServeConfig:
    """Parse the text of a Serve config, such as one inside a Kubernetes manifest.

    Args:
        text: YAML text.
        where: Origin of the text, for errors.

    Raises:
        ConfigError: the text has unknown keys or invalid values; lists all of them.
    """
    tree, _ = parse_yaml(text, where=where)
    if problems := list(_problems(tree)):
        raise ConfigError("\n  ".join([f"{where}:", *problems]))
    (application,) = tree["applications"]
    return ServeConfig(
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
        yield "expected keys such as `applications:`."
        return
    try:
        ServeDeploySchema.model_validate(tree)
    except ValidationError as error:
        yield from (problem.text for problem in from_pydantic(error.errors(), ServeDeploySchema, tree))
        return
    yield from _unknown(tree, ServeDeploySchema, "")
    yield from _unknown(tree.get("http_options"), HTTPOptionsSchema, "http_options.")
    yield from _unknown(tree.get("logging_config"), LoggingConfig, "logging_config.")
    if len(tree["applications"]) != 1:
        yield "applications: expected a list of one application."
    for application in tree["applications"]:
        yield from _unknown(application, ServeApplicationSchema, "applications.")
        for key in ("name", "route_prefix", "import_path"):
            if not isinstance(application.get(key), str):
                yield f"applications.{key}: expected a string."
        for deployment in application.get("deployments") or ():
            yield from _unknown(deployment, DeploymentSchema, "applications.deployments.")
            options = deployment.get("ray_actor_options")
            yield from _unknown(options, RayActorOptionsSchema, "applications.deployments.ray_actor_options.")


def _unknown(found: Any, schema: type[BaseModel], where: str) -> Iterator[str]:
    for key in found if isinstance(found, dict) else ():
        if key not in schema.model_fields:
            yield f"unknown key {where}{key}. {key_hint(schema, key)}"
