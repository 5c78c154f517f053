"""A model of the Hugging Face hub as a folder: from this machine's cache, else fetched into it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vapray.errors import BackendError, ConfigError

__all__ = ["HUB", "hub_folder"]

HUB = "hf-hub:"
SECONDS_TO_ANSWER = 5


def hub_folder(
    name: str,
    revision: str | None,
    choices: Sequence[list[str]],
    complete: Callable[[Path], bool],
    download: bool,
) -> Path:
    """The folder of a model, asked of the cache first.

    Args:
        name: OWNER/NAME.
        revision: commit, tag or branch; None: main.
        choices: file patterns, one list for each set of files that would do.
        complete: whether a folder holds all that is needed.
        download: fetch what the cache has not.

    Returns:
        A folder; where even the hub has not all of it, an incomplete one.

    Raises:
        ConfigError: no name of a model.
        BackendError: not in the cache, and the hub cannot be asked or has no such model; told within seconds.
    """
    from huggingface_hub import is_offline_mode

    if folder := _first(name, revision, choices, complete, local=True):
        return folder
    if not download or is_offline_mode():
        raise BackendError(
            _unavailable(name, revision, "HF_HUB_OFFLINE is set" if is_offline_mode() else "not fetched")
        )
    folder = _first(name, revision, choices, complete, local=False)
    assert folder is not None
    return folder


def _first(
    name: str, revision: str | None, choices: Sequence[list[str]], complete: Callable[[Path], bool], *, local: bool
) -> Path | None:
    found = None
    for patterns in choices:
        found = _snapshot(name, revision, patterns, local=local)
        if found and complete(found):
            return found
    return None if local else found


def _snapshot(name: str, revision: str | None, patterns: list[str], *, local: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=patterns,
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
