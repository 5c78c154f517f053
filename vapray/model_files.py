"""Files of a pretrained model: a directory, or a Hugging Face hub model in this machine's cache.

The cache is searched first: a cached model needs no network and keeps its revision.
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
"""A larger file is hashed in evenly spaced blocks, close enough to touch every large tensor."""
_OWNER_AND_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Wanted:
    """Required files of a model.

    Attributes:
        setting: Config key that names the model.
        choices: File patterns, one list for each sufficient set of files, the preferred one first.
        missing: Lists the files that a folder lacks, as text.
    """

    setting: str
    choices: Sequence[Sequence[str]]
    missing: Callable[[Path], list[str]]


def find_folder(model: str, revision: str | None, wanted: Wanted, *, download: bool = True) -> Path:
    """Resolve a model to a folder that holds all its required files.

    Args:
        model: Directory, or OWNER/NAME of the hub, with or without ``hf-hub:``.
        revision: Commit, tag or branch on the hub; None: main.
        wanted: Required files.
        download: Download files that the cache lacks.

    Raises:
        ConfigError: ``model`` is neither a directory nor a hub name, or files are missing.
        BackendError: the model is not in the cache and the hub does not deliver it; raised within seconds.
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
            f"{wanted.setting} = {model}: no {'; no '.join(missing)} in {folder}. Fix: give a complete model folder."
        )
    return folder


def is_directory(model: str | None) -> bool:
    """Check that a model name is a local directory; otherwise it names a hub model."""
    return bool(model) and Path(model or "").is_dir()


def public_name(model: str | None) -> str | None:
    """Name of a hub model, which is the same on every machine; None for a directory."""
    there = is_directory(model) or not _OWNER_AND_NAME.fullmatch((model or "").removeprefix(HUB))
    return None if there else model


def hub_commit(model: str, revision: str | None, setting: str) -> str:
    """Commit of a hub model, from the cache or else from the hub; empty if neither has it.

    Raises:
        ConfigError: ``model`` is not a hub name.
    """
    from huggingface_hub import HfApi

    name = _hub_name(model, setting)
    if folder := _snapshot(name, revision, [], local=True):
        return folder.name
    try:
        return HfApi().model_info(name, revision=revision, timeout=SECONDS_TO_ANSWER).sha or ""
    except Exception:  # its HTTP client may raise any class; loading the files will report the problem
        return ""


def hub_folder(
    name: str,
    revision: str | None,
    choices: Sequence[Sequence[str]],
    complete: Callable[[Path], bool],
    download: bool,
) -> Path:
    """Folder of OWNER/NAME, as in :func:`find_folder`; incomplete if the hub itself lacks files."""
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
    """Read a JSON file of a model.

    Raises:
        ConfigError: the file cannot be read or does not hold an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path}: cannot be read as JSON ({reason}). Fix: copy it again.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds a {type(content).__name__}, not an object. Fix: copy it again.")
    return content


def sha256_of(paths: Iterable[Path]) -> str:
    """Hash files by name and content, independent of their folder; large files by evenly spaced blocks."""
    paths = sorted(paths)
    with ThreadPoolExecutor() as pool:
        digests = dict(zip((path.name for path in paths), pool.map(_sha256, paths), strict=True))
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _hub_name(model: str, setting: str) -> str:
    name = model.removeprefix(HUB)
    if not _OWNER_AND_NAME.fullmatch(name):
        raise ConfigError(
            f"{setting} = {model}: no such directory. Fix: give the directory of a model, or {HUB}OWNER/NAME for a "
            "model of the Hugging Face hub."
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
        raise ConfigError(f"{HUB}{name}: invalid name. Accepted: {HUB}OWNER/NAME.") from None
    except (LocalEntryNotFoundError, OSError, RuntimeError) as error:
        if local:
            return None
        raise BackendError(_unavailable(name, revision, str(error).splitlines()[0])) from None
    return Path(folder)


def _unavailable(name: str, revision: str | None, why: str) -> str:
    at = f" at revision {revision}" if revision else ""
    return (
        f"{HUB}{name}: incomplete in the cache of this machine{at}, and cannot be downloaded ({why}). Fix: unset "
        f"HF_HUB_OFFLINE on a machine with a network; or run `hf download {name}` there and copy the cache; or give "
        "a directory that holds the model."
    )


def _sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of(path: Path, size: int, modified: int) -> str:
    """Hash a file, again only when its size or modification time has changed."""
    with open(path, "rb") as file:
        if size <= BYTES_READ_WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(size.to_bytes(8))
        for block in range(BLOCKS):
            file.seek(block * (size - BYTES_OF_A_BLOCK) // (BLOCKS - 1))
            digest.update(file.read(BYTES_OF_A_BLOCK))
        return digest.hexdigest()
