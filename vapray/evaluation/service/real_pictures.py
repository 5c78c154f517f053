"""From a checkpoint to the real pictures that it was trained on, as its run keeps them."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from vapray.checkpoint import place_in_run
from vapray.errors import DataError
from vapray.store import Store, Version

__all__ = ["RealPictures", "find_real_pictures", "measured_references"]


@dataclass(frozen=True)
class RealPictures:
    """Pictures of a finished run, and what its evaluations have measured on them."""

    images: Version
    """The table ``images``."""
    references: tuple[Version, ...]
    """Finished versions of ``references`` of these pictures, newest first."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """In label order."""
        return tuple(self.images.sealed().notes["class_names"])


def find_real_pictures(checkpoint: str, class_names: Sequence[str], run: str | None = None) -> RealPictures | None:
    """The pictures that a checkpoint was trained on; reads manifests alone.

    Args:
        checkpoint: its folder ``files/final``, or the URI of it.
        class_names: of the checkpoint, in label order.
        run: root of the run whose pictures are wanted; None: the run that the checkpoint lies in.

    Returns:
        None where ``run`` is None and the checkpoint lies in no run that has its pictures. Of several datasets of one
        run those that the checkpoint was trained on; where that cannot be told, the newest with these classes.

    Raises:
        DataError: ``run`` is given and has no finished pictures of these classes.
    """
    inside, fingerprint = place_in_run(checkpoint)
    root = run or inside
    if root is None:
        return None
    store = Store(root)
    images = _trained_on(store, fingerprint) or _newest_with(store, class_names)
    if images is None and run:
        raise DataError(
            f"{run}: no finished pictures of the classes {', '.join(class_names)}. Give the root of a run that has "
            "them, as its folder `images` tells, or leave run out."
        )
    return RealPictures(images, measured_references(store, images)) if images else None


def _trained_on(store: Store, fingerprint: str) -> Version | None:
    with contextlib.suppress(DataError):
        if fingerprint and (manifest := store.version("checkpoints", fingerprint).manifest()):
            return store.holding("images", manifest.inputs.get("images"))
    return None


def _newest_with(store: Store, class_names: Sequence[str]) -> Version | None:
    fitting = (one for one in store.finished("images") if one.sealed().notes.get("class_names") == list(class_names))
    return next(fitting, None)


def measured_references(store: Store, images: Version) -> tuple[Version, ...]:
    """What evaluations have measured on some pictures, newest first."""
    content = images.sealed().content_hash
    return tuple(one for one in store.finished("references") if one.sealed().inputs.get("images") == content)
