"""Deletion of an evaluation."""

from serve.evaluations.evaluation_paths import evaluation_folder, images_path, owner_folder_of, record_path
from serve.evaluations.json_files import read_json
from vapray.errors import DataError
from vapray.store.files import FileStore

__all__ = ["delete_files"]

MAX_REMOVALS = 5
"""Attempts at a folder into which a runner may still write."""


def delete_files(files: FileStore, id: str) -> None:
    """Remove all files of an evaluation; its order goes first, so that runners see it gone.

    Raises:
        DataError: a file cannot be removed.
    """
    order = read_json(files, record_path(id, "order")) or {}
    files.remove(record_path(id, "order"))
    files.remove(images_path(id))
    if (key := order.get("key")) and (read_json(files, key) or {}).get("id") == id:
        files.remove(key)
    if owner := order.get("owner"):
        files.remove(f"{owner_folder_of(owner)}/{id}")
    for attempt in range(MAX_REMOVALS):
        try:
            files.remove(evaluation_folder(id))
        except DataError:
            if attempt == MAX_REMOVALS - 1:
                raise
        if not files.names(evaluation_folder(id)):
            break
