"""Checkpoint files on disk, with a manifest of their sha256 that is written last.

    checkpoints/<fingerprint>/files/steps/step-00001500/   training state, to resume from
                              files/final/                 self-contained, for sampling and export:
        checkpoint.json          class names, latent space, text encoder, config sections, learning curve
        ema.safetensors          averaged weights
        raw.safetensors          the weights of the last step
        autoencoder/             encoder f_E and decoder f_D in diffusers' layout
        bank.parquet             the prompt bank

Only the optimizer state is unpickled, from the run's own folder, with ``weights_only``.
"""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from vapray.errors import CheckpointError, DataError, LeaseHeldError
from vapray.store.files import FileStore
from vapray.store.run_store import Store
from vapray.store.version import Version

__all__ = [
    "SCHEMA",
    "as_temporary_folder",
    "file_digests",
    "latest_step",
    "load_latest_training_state",
    "manifest_sha256",
    "read_checkpoint",
    "read_folder_bytes",
    "read_verified",
    "save_training_state",
    "split_checkpoint_path",
    "training_images",
    "write_checkpoint",
]

MANIFEST = "manifest.json"
_ADVICE = "Fix: restore a copy of it; or delete this folder, and the manifest.json of its version, and train again."
SCHEMA = 3
"""Version of the checkpoint.json layout that is written; newer versions cannot be read."""


def write_checkpoint(files: FileStore, folder: str, contents: Mapping[str, bytes]) -> str:
    """Write the files of a checkpoint, the manifest last; keep a complete checkpoint that exists already.

    Returns:
        sha256 of the manifest, which identifies the complete checkpoint.
    """
    if standing := _verified_digest(files, folder):
        return standing
    files.remove(folder)  # half-written, or damaged
    for name, data in contents.items():
        files.write(f"{folder}/{name}", data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    manifest = json.dumps(digests, indent=1, sort_keys=True).encode()
    files.write(f"{folder}/{MANIFEST}", manifest)
    return hashlib.sha256(manifest).hexdigest()


def read_checkpoint(files: FileStore, folder: str) -> dict[str, bytes]:
    """Read and verify every file of a checkpoint.

    Raises:
        CheckpointError: the manifest is missing, or a file is missing or damaged.
    """
    listed = file_digests(files, folder)
    return {name: read_verified(files, f"{folder}/{name}", digest) for name, digest in listed.items()}


def file_digests(files: FileStore, folder: str) -> dict[str, str]:
    """Read the manifest of a checkpoint: sha256 by file name.

    Raises:
        CheckpointError: the manifest is missing or damaged.
    """
    with contextlib.suppress(ValueError):
        digests = json.loads(_manifest(files, folder))
        if isinstance(digests, dict) and all(isinstance(digest, str) for digest in digests.values()):
            return digests
    raise CheckpointError(f"{files.path(folder)}/{MANIFEST}: damaged. {_ADVICE}")


def _manifest(files: FileStore, folder: str) -> bytes:
    manifest = files.read(f"{folder}/{MANIFEST}")
    if manifest is None:
        raise CheckpointError(f"{files.path(folder)}: no complete checkpoint (its {MANIFEST} is missing).")
    return manifest


def read_verified(files: FileStore, name: str, digest: str) -> bytes:
    """Read a file and verify its sha256.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    data = files.read(name)
    if data is not None and hashlib.sha256(data).hexdigest() == digest:
        return data
    found = "nothing" if data is None else f"{hashlib.sha256(data).hexdigest()[:12]}..."
    raise CheckpointError(f"{files.path(name)}: expected sha256 {digest[:12]}..., found {found}. {_ADVICE}")


def manifest_sha256(files: FileStore, folder: str) -> str:
    """sha256 of a checkpoint's manifest, as :func:`write_checkpoint` returns it.

    Raises:
        CheckpointError: the manifest is missing.
    """
    return hashlib.sha256(_manifest(files, folder)).hexdigest()


def split_checkpoint_path(checkpoint: str) -> tuple[str | None, str]:
    """Split ROOT/checkpoints/FINGERPRINT/files/final into (ROOT, FINGERPRINT); (None, "") for any other path or URI."""
    files = FileStore(checkpoint)
    *above, folder, fingerprint, last, final = ["", "", "", *files.path("").rstrip("/").split("/")]
    if (folder, last, final) != ("checkpoints", "files", "final"):
        return None, ""
    root = "/".join(above[3:]) or "/"
    return root if files.is_local else files.filesystem.unstrip_protocol(root), fingerprint


def training_images(store: Store, fingerprint: str) -> Version | None:
    """Find the newest version of ``images`` with the training images of a checkpoint; None if it is not in the run."""
    with contextlib.suppress(DataError):
        if fingerprint and (manifest := store.version("checkpoints", fingerprint).manifest()):
            return store.find_by_content("images", manifest.inputs.get("images"))
    return None


def read_folder_bytes(folder: str | Path) -> dict[str, bytes]:
    """Read the files of a local folder, by path below it, for :func:`write_checkpoint`."""
    paths = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@contextlib.contextmanager
def as_temporary_folder(contents: Mapping[str, bytes]) -> Iterator[Path]:
    """Write files into a temporary local folder, for libraries that load from a path."""
    with tempfile.TemporaryDirectory(prefix="vapray-") as folder:
        for name, data in contents.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        yield Path(folder)


def save_training_state(files: FileStore, folder: str, step: int, contents: Mapping[str, bytes], *, keep: int) -> None:
    """Write the training state after ``step`` steps, then remove all but the newest ``keep``.

    Raises:
        LeaseHeldError: a complete later state exists, which only another run can have written.
    """
    for name in _step_names(files, folder):
        if name > _step_name(step):
            if _verified_digest(files, f"{folder}/{name}"):
                raise LeaseHeldError(
                    f"{files.path(folder)}: {name} exists and this run is only at step {step}: another run took over "
                    "while this one was stalled. Fix: run the command again."
                )
            files.remove(f"{folder}/{name}")  # skipped as incomplete when this run began
    write_checkpoint(files, f"{folder}/{_step_name(step)}", contents)
    for name in _step_names(files, folder)[:-keep]:
        files.remove(f"{folder}/{name}")


def latest_step(files: FileStore, folder: str) -> int:
    """Find the step of the newest training state with a manifest, without reading the state; 0 if there is none."""
    for name in reversed(_step_names(files, folder)):
        if files.read(f"{folder}/{name}/{MANIFEST}") is not None:
            return int(name.removeprefix("step-"))
    return 0


def load_latest_training_state(
    files: FileStore, folder: str, log: Callable[[str], None], *, strict: bool = False
) -> dict[str, bytes] | None:
    """Read the newest complete training state; None if none was ever committed.

    Args:
        files: Store that holds the run.
        folder: Folder of the steps, relative to the store root.
        log: Logs each state that is skipped because it is damaged or incomplete.
        strict: Fail on a damaged state instead of skipping it.

    Returns:
        Contents of the files, by name.

    Raises:
        CheckpointError: a state is damaged and ``strict``, or every committed state is damaged.
    """
    damaged = 0
    for name in reversed(_step_names(files, folder)):
        if files.read(f"{folder}/{name}/{MANIFEST}") is None:
            log(f"skipping an incomplete checkpoint: {files.path(f'{folder}/{name}')}")
            continue
        try:
            return read_checkpoint(files, f"{folder}/{name}")
        except CheckpointError as error:
            if strict:
                raise
            log(f"skipping a damaged checkpoint: {error}")
            damaged += 1
    if damaged:
        raise CheckpointError(
            f"{files.path(folder)}: no complete checkpoint is left, {damaged} damaged. Fix: restore a copy of one, or "
            "delete this folder to train from the first step."
        )
    return None


def _verified_digest(files: FileStore, folder: str) -> str | None:
    """sha256 of the manifest if the complete checkpoint verifies, else None."""
    try:
        read_checkpoint(files, folder)
        return manifest_sha256(files, folder)
    except CheckpointError:
        return None


def _step_name(step: int) -> str:
    return f"step-{step:08d}"


def _step_names(files: FileStore, folder: str) -> list[str]:
    return [name for name in files.names(folder) if name.startswith("step-")]
