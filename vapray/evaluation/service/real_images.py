"""Search for the real images that a checkpoint was trained on, in its run."""

from collections.abc import Sequence
from dataclasses import dataclass

from vapray.errors import DataError
from vapray.store.checkpoint import split_checkpoint_path, training_images
from vapray.store.run_store import Store
from vapray.store.version import Version

__all__ = ["RealImages", "find_real_images", "measured_references"]


@dataclass(frozen=True)
class RealImages:
    """Real images of a finished run, with the measurements of its evaluations."""

    images: Version
    """Version of the table ``images``."""
    references: tuple[Version, ...]
    """Finished versions of ``reference_measurements`` for these images, newest first."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names, by label."""
        return tuple(self.images.require_manifest().notes["class_names"])


def find_real_images(checkpoint: str, class_names: Sequence[str], run: str | None = None) -> RealImages | None:
    """Find the images that a checkpoint was trained on; reads only manifests.

    Args:
        checkpoint: Its folder ``files/final``, as path or URI.
        class_names: Class names of the checkpoint, by label.
        run: Root of the run that holds the images; None: the run that contains the checkpoint.

    Returns:
        The dataset that the checkpoint was trained on, or else the newest one of the run with these classes. None if
        ``run`` is None and the checkpoint is in no run with such a dataset.

    Raises:
        DataError: ``run`` is given and has no finished images of these classes.
    """
    inside, fingerprint = split_checkpoint_path(checkpoint)
    root = run or inside
    if root is None:
        return None
    store = Store(root)
    images = training_images(store, fingerprint) or _newest_with(store, class_names)
    if images is None and run:
        raise DataError(
            f"{run}: no finished images of the classes {', '.join(class_names)}. Fix: give the root of a run that "
            "has them in its folder `images`, or leave run out."
        )
    return RealImages(images, measured_references(store, images)) if images else None


def _newest_with(store: Store, class_names: Sequence[str]) -> Version | None:
    fitting = (
        one for one in store.finished("images") if one.require_manifest().notes.get("class_names") == list(class_names)
    )
    return next(fitting, None)


def measured_references(store: Store, images: Version) -> tuple[Version, ...]:
    """Finished versions of ``reference_measurements`` for these images, newest first."""
    content = images.require_manifest().content_hash
    return tuple(
        one
        for one in store.finished("reference_measurements")
        if one.require_manifest().inputs.get("images") == content
    )
