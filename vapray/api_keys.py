"""Keys of the service's API: 256 random bits, of which the service keeps a hash.

A file of keys is YAML::

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
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from vapray.config.section import Count, Section
from vapray.errors import ConfigError
from vapray.strict_yaml import parse_yaml

__all__ = ["ApiKey", "ApiKeys", "Scope", "add_key", "hash_key", "key_that_matches", "make_key", "read_keys"]

Scope = Literal["images", "bank", "evaluations", "captions", "neighbours", "metrics"]


class ApiKey(Section):
    """Who may ask for what; not the key itself."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    """Stands in logs."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the key, in hexadecimal digits."""
    scopes: Annotated[tuple[Scope, ...], Field(strict=False, min_length=1)]
    """What it opens."""
    images_per_minute: Count | None = None
    """None: no limit."""


class ApiKeys(Section):
    """A file of them."""

    keys: Annotated[tuple[ApiKey, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _once(self) -> "ApiKeys":
        for name in ("id", "sha256"):
            values = [getattr(key, name) for key in self.keys]
            if twice := [value for value in values if values.count(value) > 1]:
                raise ValueError(f"the {name} {twice[0]} stands twice")
        return self


def make_key() -> str:
    """A new one."""
    return f"vr_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> str:
    """What the service keeps of it; 256 random bits need neither salt nor a slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_that_matches(keys: Iterable[ApiKey], presented: str) -> ApiKey | None:
    """The key that a client presents; takes as long whichever it is, and if it is none."""
    digest, found = hash_key(presented), None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            found = key
    return found


def read_keys(path: str) -> tuple[ApiKey, ...]:
    """A file of keys.

    Raises:
        ConfigError: cannot be read, or holds anything else; names all that is wrong, and quotes no hash.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. `vapray key NAME --file {path}` makes it.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Give another file of keys.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}. Save the file as UTF-8.") from None
    tree, _ = parse_yaml(text, where=path)
    try:
        return ApiKeys.model_validate(tree).keys
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, found['loc'])) or 'the file'}: {_said(found)}" for found in _wrong(error)]
        advice = f"Wanted what `vapray key NAME --file {path}` writes."
        raise ConfigError(f"{path}: {'; '.join(problems)}. {advice}") from None


def _wrong(error: ValidationError) -> list[ErrorDetails]:
    """Without the list that lacks an entry because the entry is wrong."""
    return [one for one in error.errors() if one["type"] != "too_short" or not one["input"]]


def _said(found: ErrorDetails) -> str:
    return found["msg"].removeprefix("Value error, ")


def add_key(path: str, id: str, scopes: Sequence[str], images_per_minute: int | None = None) -> str:
    """Make a key and add its hash to a file, which only its owner may read.

    Returns:
        The key, which is kept nowhere.

    Raises:
        ConfigError: the file cannot be read or written, or the name, a scope or the rate is not accepted.
    """
    entries = [key.model_dump(mode="json") for key in (read_keys(path) if os.path.exists(path) else ())]
    key = make_key()
    entries.append({"id": id, "sha256": hash_key(key), "scopes": [*scopes], "images_per_minute": images_per_minute})
    try:
        ApiKeys.model_validate({"keys": entries})
    except ValidationError as error:
        wrong = {".".join(map(str, found["loc"][2:3])) or path: _said(found) for found in _wrong(error)[::-1]}
        text = "; ".join(f"{where}: {what}" for where, what in wrong.items())
        raise ConfigError(f"{text}. No key was made.") from None
    _write_private(path, yaml.safe_dump({"keys": entries}, sort_keys=False))
    return key


def _write_private(path: str, text: str) -> None:
    """Whole or not at all; the name of the new file keeps a second writer out."""
    new = f"{path}.new"
    try:
        with open(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except FileExistsError:
        raise ConfigError(f"{new} is there: another command adds a key. If none does, remove that file.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}). Give another --file.") from None
