"""Check of the dataset: its records are found and its first images decode."""

from collections import Counter
from collections.abc import Iterator

from vapray.config import Config, modality_name
from vapray.data.dataset import open_dataset, phantom_root
from vapray.data.decode import decode
from vapray.data.image_groups import groups_content_hash
from vapray.data.image_loading import read_bytes
from vapray.data.inventory import take_inventory
from vapray.data.origins import apply_settings
from vapray.doctor.findings import Finding, failed, ok, warning
from vapray.errors import ImageDecodeError

__all__ = ["check", "check_groups"]

IMAGES_TO_DECODE = 5


def check(config: Config) -> Iterator[Finding]:
    """List the records and decode the first few images."""
    data = config.data
    if data.source == "phantom" and not phantom_root(config).is_dir():
        yield ok("dataset", f"{data.phantom.n_images:,} phantoms to be generated ({modality_name(data.modality)})")
        return
    source = open_dataset(config)
    records = apply_settings(source.records(), data)
    splits = Counter(record.split for record in records)
    counts = ", ".join(f"{count:,} {split}" for split, count in splits.items())
    found = f"{len(records):,} images of {len(source.class_names)} classes, {counts}"
    errors = [error for record in records[:IMAGES_TO_DECODE] if (error := _decoding_error(record.path, config))]
    if errors:
        summary = f"{found}; {len(errors)} of the first {IMAGES_TO_DECODE} do not decode: {errors[0]}"
        yield failed("dataset", summary, "Replace or remove these files, or change the setting that is named.", 3)
    elif not splits.get("test") and not splits.get("validation"):
        yield failed(
            "dataset",
            f"{found}: no held-out split",
            "Add a test split, raise data.test_share, or give smaller groups.",
            3,
        )
    else:
        yield ok("dataset", found)
    inventory = take_inventory(source, records)
    yield ok("inventory", "\n".join(inventory.lines()))
    leaks = {**source.leaks(), **inventory.warnings}
    for note in source.notes():
        if not note.startswith(tuple(leaks)):
            yield ok("about the data", note)
    for leak, advice in leaks.items():
        yield warning("about the data", leak, advice)


def check_groups(config: Config) -> Iterator[Finding]:
    """Check that the images have the columns of ``evaluate.groups``; nothing without them."""
    if config.evaluate.groups:
        groups_content_hash(config)
        yield ok("groups", f"numbers will be reported by {', '.join(config.evaluate.groups)}")


def _decoding_error(path: str, config: Config) -> str | None:
    try:
        decode(read_bytes(path), accept_identified=config.data.accept_identified_dicom)
    except ImageDecodeError as error:
        return f"{path}: {error}"
    return None
