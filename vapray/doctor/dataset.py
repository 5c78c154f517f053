"""The dataset: is it there, and do its first pictures decode?"""

from collections import Counter
from collections.abc import Iterator

from vapray.config import Config
from vapray.data.dataset import open_dataset, phantom_root
from vapray.data.decode import decode
from vapray.data.frames import read_bytes
from vapray.doctor.findings import Finding, failed, ok, warning
from vapray.errors import BadImage

__all__ = ["examine"]

LOOKED_AT = 5


def examine(config: Config) -> Iterator[Finding]:
    """Lists the records, and decodes the first few pictures."""
    data = config.data
    if data.source == "phantom" and not phantom_root(config).is_dir():
        yield ok("dataset", f"{data.phantom.n_images:,} phantoms will be drawn ({data.modality})")
        return
    source = open_dataset(config)
    records = source.records()
    splits = Counter(record.split for record in records)
    found = f"{len(records):,} pictures of {len(source.class_names)} classes, " + ", ".join(
        f"{count:,} {split}" for split, count in splits.items()
    )
    bad = [f"{record.path}: {reason}" for record in records[:LOOKED_AT] if (reason := _reason(record.path, config))]
    if bad:
        yield failed("dataset", f"{found}; {bad[0]} ({len(bad)} of the first {LOOKED_AT})", "Mend these files.", 3)
    elif not splits.get("test") and not splits.get("validation"):
        yield failed("dataset", f"{found}: nothing is held out", "Give a test split, or set data.test_share.", 3)
    else:
        yield ok("dataset", found)
    leaks = source.leaks()
    for note in source.notes():
        if not note.startswith(tuple(leaks)):
            yield ok("about the data", note)
    for leak, advice in leaks.items():
        yield warning("about the data", leak, advice)


def _reason(path: str, config: Config) -> str | None:
    try:
        decode(read_bytes(path), accept_identified=config.data.accept_identified_dicom)
    except BadImage as error:
        return str(error)
    return None
