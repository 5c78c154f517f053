"""Names of splits in folders, files and tables, by the rules of Hugging Face's image folders.

https://huggingface.co/docs/hub/datasets-file-names-and-splits: train, training; validation, valid, val, dev; test,
testing, eval, evaluation, in any case, alone or as a word between ``-``, ``.``, ``_``, blanks and digits. In contrast
to Hugging Face, a set of names is one of splits only if all of them are, and of different ones if they contain other
words: ``test_positive`` beside ``test_negative`` are classes.
"""

import re
from collections.abc import Collection, Mapping

from vapray.data.label_tables import summarize_names
from vapray.errors import DataError

__all__ = ["FIRST_NAMES", "SPLIT_NAMES", "describe_splits", "is_split_name", "split_of", "splits_of_names"]

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
FIRST_NAMES = {"train", "training", "validation", "valid", "val", "test"}
"""Names that version 0.1.0 already knew; they are not described, so that the signatures of their datasets are kept."""
SEPARATORS = re.compile(r"[-._ 0-9]+")


def is_split_name(name: str) -> bool:
    """Return True if a name is that of a split, such as ``Train`` or ``train2019``, without any other word."""
    words = [word for word in SEPARATORS.split(name.lower()) if word]
    return len(words) == 1 and words[0] in SPLIT_NAMES


def split_of(name: str) -> str:
    """Get the split that is a word of the name; empty if there is none or several."""
    found = {SPLIT_NAMES[word] for word in SEPARATORS.split(name.lower()) if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else ""


def describe_splits(splits: Mapping[str, str]) -> list[str]:
    """Describe the splits of names outside of ``FIRST_NAMES``; for a list of conventions."""
    described = [f"{name} is {split}" for name, split in sorted(splits.items()) if name not in FIRST_NAMES]
    return [f"Splits by name: {', '.join(described)}."] if described else []


def splits_of_names(names: Collection[str], where: object, noun: str, *, strict: bool = True) -> dict[str, str]:
    """Map each name to its split; empty if none of them is the name of a split.

    Args:
        names: names of folders or files of one kind.
        where: place of the names, for the message.
        noun: kind of the names, for the message.
        strict: beside other names, only a name without any other word is that of a split.

    Raises:
        DataError: names of splits beside other names.
    """
    splits = {name: split_of(name) for name in names}
    if all(splits.values()):
        return splits if len(set(splits.values())) > 1 or all(map(is_split_name, names)) else {}
    if given := sorted(name for name in names if (is_split_name(name) if strict else splits[name])):
        others = sorted(name for name, split in splits.items() if not split)
        raise DataError(
            f"{where}: {summarize_names(others, noun)} beside the splits {', '.join(given)}. "
            f"Fix: rename or remove the {noun}s that are no split."
        )
    return {}
