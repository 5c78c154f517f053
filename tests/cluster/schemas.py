"""The schemas of KubeRay's custom resources, as strict as ``kubectl --validate=strict``."""

import gzip
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tests.conftest import ROOT

__all__ = ["DEFINITIONS", "violations"]

# The C loader reads the definitions several times faster; PyYAML may be built without it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEFINITIONS = ROOT.resolve().parent / "shared" / "data" / "kuberay-crds"


def violations(tree: dict[str, Any]) -> list[str]:
    """Return the fields of an object that the API server would refuse, each with its path.

    KubeRay's definitions embed the Kubernetes types that the built-in kinds are checked with.
    """
    if not str(tree["apiVersion"]).startswith("ray.io/"):
        tree = _embedded(tree)
    errors = _validator(tree["kind"], tree["apiVersion"].partition("/")[2]).iter_errors(tree)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]


def _embedded(tree: dict[str, Any]) -> dict[str, Any]:
    """Build a Ray cluster that holds the same content in a field of the same type."""
    spec = tree["spec"]
    head: dict[str, Any] = {"template": {"spec": {"containers": [{"name": "any"}]}}}
    cluster: dict[str, Any] = {"headGroupSpec": head}
    match tree["kind"]:
        case "StatefulSet":
            head["template"] = spec["template"]
            head["template"]["spec"]["volumes"] = [_claim(claim) for claim in spec["volumeClaimTemplates"]]
        case "PersistentVolumeClaim":
            head["template"]["spec"]["volumes"] = [_claim(tree)]
        case "Service":
            head["headService"] = tree
        case "NetworkPolicy":
            cluster["networkPolicy"] = {"head": {"ingressRules": spec["ingress"]}}
        case other:
            raise AssertionError(f"KubeRay embeds no {other}")
    return {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {}, "spec": cluster}


def _claim(tree: dict[str, Any]) -> dict[str, Any]:
    return {"name": "any", "ephemeral": {"volumeClaimTemplate": {"spec": tree["spec"]}}}


@cache
def _validator(kind: str, version: str) -> jsonschema.Draft202012Validator:
    path: Path = DEFINITIONS / f"ray.io_{kind.lower()}s.yaml.gz"
    definition = yaml.load(gzip.decompress(path.read_bytes()), Loader=LOADER)
    (found,) = [known for known in definition["spec"]["versions"] if known["name"] == version]
    schema = _strict(found["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator(schema)


def _strict(schema: Any) -> Any:
    """Translate an OpenAPI schema of Kubernetes to JSON Schema that refuses unknown fields."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items() if key not in ("nullable", "format")}
    properties = strict.get("properties")
    if strict.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
    if isinstance(properties, dict):
        if schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict.setdefault("additionalProperties", False)
        # The API server fills in defaults before it checks required fields.
        filled = {name for name, field in properties.items() if isinstance(field, dict) and "default" in field}
        strict["required"] = [name for name in strict.get("required", ()) if name not in filled]
    if schema.get("nullable") and "type" in strict:
        strict["type"] = [strict["type"], "null"]
    return strict
