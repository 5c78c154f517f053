"""HTTP API, from the OpenAPI document of the service."""

from collections.abc import Iterator
from typing import Any, cast

from generated import definition, sentence
from serve.api.application import create_app
from serve.backend import Backend
from serve.settings import ModelSettings, ServiceSettings

__all__ = ["markdown"]

Schema = dict[str, Any]


def markdown() -> str:
    """Describe every operation, the errors that all share, and the objects of bodies."""
    settings = ServiceSettings(models=(ModelSettings(name="demo", checkpoint="runs/demo"),))
    document = create_app(cast(Backend, None), settings).openapi()  # the document asks nothing of a backend
    texts, errors = [], {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            texts += [f"## {method.upper()} {path}", *_operation(operation)]
            errors |= {code: one for code, one in operation["responses"].items() if not code.startswith("2")}
    texts += ["## Errors", "Every error is an [ErrorResponse](#errorresponse).", _responses(errors), "## Objects"]
    for name, schema in document["components"]["schemas"].items():
        texts += [f"### {name}", sentence(schema.get("description", "")), *_fields(schema)]
    return "\n\n".join(filter(None, texts))


def _operation(operation: Schema) -> Iterator[str]:
    key = "Needs an API key." if operation.get("security") else "Needs no API key."
    yield f"{sentence(operation.get('description') or operation.get('summary', ''))} {key}"
    for one in operation.get("parameters", ()):
        required = ", required" if one.get("required") else ""
        yield definition(one["name"], f"{one['in']}, {_kind(one['schema'])}{required}", _text(one))
    if body := operation.get("requestBody"):
        yield f"Body: {_content(body['content'])}."
        for one in body["content"].values():
            yield from _fields(one["schema"])  # none if it is an object below "Objects"
    for code, one in operation["responses"].items():
        if code.startswith("2"):
            text = one["description"].replace("Successful Response", "")
            yield f"Response: {_content(one.get('content', {})) or 'no content'}. {sentence(text)}"


def _responses(found: Schema) -> str:
    rows = [f"| {code} | {sentence(one['description'])} |" for code, one in sorted(found.items())]
    return "\n".join(["| Status | Meaning |", "|---|---|", *rows])


def _text(parameter: Schema) -> str:
    return str(parameter.get("description") or parameter["schema"].get("description", ""))


def _content(content: Schema) -> str:
    kinds = ((kind, _kind(one["schema"]) if "schema" in one else "file") for kind, one in content.items())
    return ", ".join(f"{what} as `{kind}`" for kind, what in kinds)


def _fields(schema: Schema) -> Iterator[str]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        known = f", default `{field['default']}`" if field.get("default") is not None else ""
        known += ", required" if name in required else ""
        yield definition(name, f"{_kind(field)}{known}", field.get("description"))


def _kind(schema: Schema) -> str:
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf"):
        return " or ".join(_kind(one) for one in choices)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    kind = "file" if schema.get("format") == "binary" else schema.get("type", "any value")
    return f"{kind}{_bounds(schema)}"


def _bounds(schema: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    signs |= {"minLength": "length ≥", "maxLength": "length ≤", "minItems": "items ≥", "maxItems": "items ≤"}
    found = [f"{sign} {schema[name]:g}" for name, sign in signs.items() if schema.get(name, 2**53) < 2**53]
    return f" {' and '.join(found)}" if found else ""
