"""API keys of the service: 256 random bits each; the service stores only their hashes.

A key file is YAML::

    keys:
    - id: ward-7
      sha256: 2cf2...
      scopes: [images, bank]
      images_per_minute: 60
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from vapray.config.section import ConfigSection, PositiveInt
from vapray.config.strict_yaml import parse_yaml
from vapray.config.validation_errors import validate
from vapray.errors import ConfigError

__all__ = ["ApiKey", "ApiKeys", "Scope", "add_key", "hash_key", "key_that_matches", "make_key", "read_keys"]

Scope = Literal["images", "bank", "evaluations", "captions", "neighbours", "metrics"]


class ApiKey(ConfigSection):
    """One entry of a key file: name, scopes and rate limit, with the hash of the key."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    """Name of the key in logs."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the key, in hexadecimal digits."""
    scopes: Annotated[tuple[Scope, ...], Field(strict=False, min_length=1)]
    """Parts of the API that the key may use."""
    images_per_minute: PositiveInt | None = None
    """Rate limit; None: no limit."""


class ApiKeys(ConfigSection):
    """Contents of a key file."""

    keys: Annotated[tuple[ApiKey, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _once(self) -> "ApiKeys":
        for name in ("id", "sha256"):
            values = [getattr(key, name) for key in self.keys]
            if twice := [value for value in values if values.count(value) > 1]:
                raise ValueError(f"duplicate {name} {twice[0]}")
        return self


def make_key() -> str:
    """Generate a new key."""
    return f"vr_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> str:
    """SHA-256 of a key, as the service stores it; 256 random bits need neither salt nor a slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_that_matches(keys: Iterable[ApiKey], presented: str) -> ApiKey | None:
    """Find the entry of a presented key, or None; takes equally long for every key, valid or not."""
    digest, found = hash_key(presented), None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            found = key
    return found


def read_keys(path: str) -> tuple[ApiKey, ...]:
    """Read a key file.

    Raises:
        ConfigError: the file cannot be read or is invalid; lists all problems and quotes no hash.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file. Fix: create it with `vapray create-key NAME --file {path}`."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Fix: give another key file.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}. Fix: save the file as UTF-8.") from None
    tree, _ = parse_yaml(text, where=path)
    try:
        return validate(ApiKeys, tree, source=path, shown=_shown).keys
    except ConfigError as error:
        advice = f"Fix: use the format that `vapray create-key NAME --file {path}` writes."
        raise ConfigError(f"{error} {advice}") from None


def _shown(path: Sequence[int | str], value: object) -> str:
    """Show a value of a key file in an error, if it cannot hold a key or a hash."""
    return repr(value)[:80] if path and path[-1] in ("id", "scopes", "images_per_minute") else ""


def add_key(path: str, id: str, scopes: Sequence[str], images_per_minute: int | None = None) -> str:
    """Generate a key and add its hash to a key file, which only its owner may read.

    Returns:
        The key; it is not stored.

    Raises:
        ConfigError: the file cannot be read or written, or the name, a scope or the rate is not accepted.
    """
    entries = [key.model_dump(mode="json") for key in (read_keys(path) if os.path.exists(path) else ())]
    key = make_key()
    entries.append({"id": id, "sha256": hash_key(key), "scopes": [*scopes], "images_per_minute": images_per_minute})
    validate(ApiKeys, {"keys": entries}, source="no key was created", shown=_shown)
    _write_private(path, yaml.safe_dump({"keys": entries}, sort_keys=False))
    return key


def _write_private(path: str, text: str) -> None:
    """Write the complete file or none; the name of the new file excludes a second writer."""
    new = f"{path}.new"
    try:
        with open(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except FileExistsError:
        raise ConfigError(f"{new} exists: another command is adding a key. Fix: wait, or remove it.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}). Fix: give another --file.") from None
