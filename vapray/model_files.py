"""A pretrained model's files: a directory, or a model of the Hugging Face hub in this machine's cache.

The cache is asked first: a model that is there needs no network, and stays the revision that it is.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vapray.errors import BackendError, ConfigError

__all__ = [
    "HUB", "Wanted", "find_folder", "hub_commit", "hub_folder", "is_directory", "public_name", "read_card",
    "sha256_of",
]  # fmt: skip

HUB = "hf-hub:"
SECONDS_TO_ANSWER = 5
BYTES_READ_WHOLE, BLOCKS, BYTES_OF_A_BLOCK = 256 << 20, 256, 64 << 10
"""Of a larger file blocks are read, close enough together to touch every large tensor."""
_OWNER_AND_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Wanted:
    """What makes a model whole.

    Attributes:
        setting: the key that names the model.
        choices: file patterns, one list for each set of files that would do, the best first.
        missing: what a folder lacks, in words.
    """

    setting: str
    choices: Sequence[Sequence[str]]
    missing: Callable[[Path], list[str]]


def find_folder(model: str, revision: str | None, wanted: Wanted, *, download: bool = True) -> Path:
    """The folder of a model, all there.

    Args:
        model: a directory, or OWNER/NAME of the hub, with or without ``hf-hub:``.
        revision: of the hub's: commit, tag or branch; None: main.
        wanted: what has to be there.
        download: fetch what the cache has not.

    Raises:
        ConfigError: neither a directory nor a name of the hub's, or files missing.
        BackendError: not in the cache, and not to be had from the hub; told within seconds.
    """
    folder = Path(model)
    if not is_directory(model):
        name = _hub_name(model, wanted.setting)
        try:
            folder = hub_folder(name, revision, wanted.choices, lambda found: not wanted.missing(found), download)
        except BackendError as error:
            raise BackendError(f"{wanted.setting}: {error}") from None
    if missing := wanted.missing(folder):
        raise ConfigError(
            f"{wanted.setting} = {model}: no {'; no '.join(missing)} in {folder}. Give a model's whole folder."
        )
    return folder


def is_directory(model: str | None) -> bool:
    """Whether a model's name is a directory of this machine; else it is the hub's."""
    return bool(model) and Path(model or "").is_dir()


def public_name(model: str | None) -> str | None:
    """A model's name, if it means the same on every machine: the hub's; None for a directory."""
    there = is_directory(model) or not _OWNER_AND_NAME.fullmatch((model or "").removeprefix(HUB))
    return None if there else model


def hub_commit(model: str, revision: str | None, setting: str) -> str:
    """The commit of a model of the hub: the cache's, else the hub's own word; empty where neither can be had.

    Raises:
        ConfigError: no name of the hub's.
    """
    from huggingface_hub import HfApi

    name = _hub_name(model, setting)
    if folder := _snapshot(name, revision, [], local=True):
        return folder.name
    try:
        return HfApi().model_info(name, revision=revision, timeout=SECONDS_TO_ANSWER).sha or ""
    except Exception:  # of whichever HTTP client it uses; who needs the files will say what is wrong
        return ""


def hub_folder(
    name: str,
    revision: str | None,
    choices: Sequence[Sequence[str]],
    complete: Callable[[Path], bool],
    download: bool,
) -> Path:
    """The folder of OWNER/NAME; where even the hub has not all of it, an incomplete one. See :func:`find_folder`."""
    from huggingface_hub import is_offline_mode

    if folder := _first(name, revision, choices, complete, local=True):
        return folder
    if not download or is_offline_mode():
        why = "HF_HUB_OFFLINE is set" if is_offline_mode() else "not fetched"
        raise BackendError(_unavailable(name, revision, why))
    folder = _first(name, revision, choices, complete, local=False)
    assert folder is not None
    return folder


def read_card(path: Path) -> dict[str, Any]:
    """A model's JSON file.

    Raises:
        ConfigError: it cannot be read, or holds no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({str(error).splitlines()[0]}). Copy it again.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds a {type(content).__name__}, wanted an object. Copy it again.")
    return content


def sha256_of(paths: Iterable[Path]) -> str:
    """Of files by name and content, wherever they lie; of gigabytes of weights by evenly spaced blocks of them."""
    paths = sorted(paths)
    with ThreadPoolExecutor() as pool:
        digests = dict(zip((path.name for path in paths), pool.map(_sha256, paths), strict=True))
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _hub_name(model: str, setting: str) -> str:
    name = model.removeprefix(HUB)
    if not _OWNER_AND_NAME.fullmatch(name):
        raise ConfigError(
            f"{setting} = {model}: no such directory. Give the directory of a model, or {HUB}OWNER/NAME for one of "
            "the Hugging Face hub."
        )
    return name


def _first(
    name: str, revision: str | None, choices: Sequence[Sequence[str]], complete: Callable[[Path], bool], *, local: bool
) -> Path | None:
    found = None
    for patterns in choices:
        found = _snapshot(name, revision, patterns, local=local)
        if found and complete(found):
            return found
    return None if local else found


def _snapshot(name: str, revision: str | None, patterns: Sequence[str], *, local: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=[*patterns],
            local_files_only=local,
            etag_timeout=SECONDS_TO_ANSWER,
        )
    except HFValidationError:
        raise ConfigError(f"{HUB}{name}: wanted {HUB}OWNER/NAME.") from None
    except (LocalEntryNotFoundError, OSError, RuntimeError) as error:
        if local:
            return None
        raise BackendError(_unavailable(name, revision, str(error).splitlines()[0])) from None
    return Path(folder)


def _unavailable(name: str, revision: str | None, why: str) -> str:
    at = f" at revision {revision}" if revision else ""
    return (
        f"{HUB}{name}: not whole in the cache of this machine{at}, and not to be had ({why}). Unset HF_HUB_OFFLINE "
        f"where there is a network; or run `hf download {name}` there and copy the cache; or give a "
        "directory that holds the model."
    )


def _sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of(path: Path, size: int, modified: int) -> str:
    """Hashed again only when size or time have changed."""
    with open(path, "rb") as file:
        if size <= BYTES_READ_WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(size.to_bytes(8))
        for block in range(BLOCKS):
            file.seek(block * (size - BYTES_OF_A_BLOCK) // (BLOCKS - 1))
            digest.update(file.read(BYTES_OF_A_BLOCK))
        return digest.hexdigest()
