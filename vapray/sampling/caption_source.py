"""Captions to sample images for: from this run's training images, from held-out images, or from another run's bank."""

from collections.abc import Sequence
from dataclasses import replace

from vapray.bank.prompt_bank import PromptBank
from vapray.config import Config, Sample
from vapray.errors import DataError
from vapray.store.run_store import Store
from vapray.store.tables import choose_held_out_split
from vapray.store.version import Version

__all__ = ["bank_content_hash", "select_captions"]


def bank_content_hash(config: Config) -> str:
    """Content hash of the newest bank of run ``sample.caption_run``; empty if the setting is.

    Raises:
        DataError: that run has no finished bank.
    """
    if not (root := config.sample.caption_run):
        return ""
    if newest := Store(root).latest("prompt_bank"):
        return newest.content_hash
    raise DataError(f"sample.caption_run {root}: no finished bank. Fix: give the run.root of a run with captions.")


def select_captions(config: Config, bank: Version, class_names: Sequence[str], another: str = "") -> PromptBank:
    """Build the prompt bank from which captions are drawn, by the labels of the model.

    Entries of another run's bank get separate ids, since its images are not this run's. As held-out captions, entries
    whose image id is among this run's training images are excluded.

    Args:
        config: Complete config; section ``sample`` is used.
        bank: Bank of this run.
        class_names: Class names of the model, by label.
        another: Content hash of the bank of ``sample.caption_run``.

    Raises:
        DataError: there are no such captions, ``sample.caption_run`` lacks a class, or that bank is gone.
    """
    sample, count = config.sample, config.sample.captions_per_class
    if sample.caption_run:
        theirs = Store(sample.caption_run).find_by_content("prompt_bank", another)
        if theirs is None:
            raise DataError(f"sample.caption_run {sample.caption_run}: its bank is gone. Fix: run the command again.")
        texts = _split_of(theirs, sample.caption_split)
        if sample.caption_split == "held_out":
            texts = _without(texts, PromptBank.from_version(bank), sample.caption_run)
        texts = _relabelled(texts, _class_names(sample.caption_run, theirs), class_names, sample)
    else:
        texts = _split_of(bank, sample.caption_split)
    return texts if count is None else texts.limit_per_class(count)


def _split_of(bank: Version, texts: str) -> PromptBank:
    if texts == "training":
        return PromptBank.from_version(bank)
    if split := choose_held_out_split(bank.read(["split"]).column(0).unique().to_pylist()):
        return PromptBank.from_version(bank, split)
    raise DataError(
        f"{bank.uri}: sample.caption_split=held_out, but every image is in the train split. Fix: give the dataset a "
        "test split, set data.test_share, or draw captions of training images with sample.caption_split=training."
    )


def _class_names(root: str, bank: Version) -> Sequence[str]:
    """Class names by label, of the images that a bank's captions describe."""
    store = Store(root)
    captions = store.find_by_content("captions", bank.require_manifest().inputs["captions"])
    if images := captions and store.find_by_content("images", captions.require_manifest().inputs["images"]):
        names: list[str] = images.require_manifest().notes["class_names"]
        return names
    raise DataError(f"sample.caption_run {root}: the images of its captions are gone, and with them the class names.")


def _without(texts: PromptBank, trained_on: PromptBank, root: str) -> PromptBank:
    known = {entry.image_id for label in trained_on.labels for entry in trained_on.entries(label)}
    unseen = [entry for label in texts.labels for entry in texts.entries(label) if entry.image_id not in known]
    if not unseen:
        raise DataError(f"sample.caption_run {root}: this run was trained on all images of its held-out captions.")
    return PromptBank(unseen)


def _relabelled(texts: PromptBank, theirs: Sequence[str], ours: Sequence[str], sample: Sample) -> PromptBank:
    if unknown := sorted(set(sample.caption_class_map) - set(ours)):
        raise DataError(
            f"sample.caption_class_map: the model has no class {unknown[0]}. Its classes: {', '.join(ours)}."
        )
    wanted = [sample.caption_class_map.get(name, name) for name in ours]
    places = {name.casefold(): label for label, name in enumerate(theirs) if label in texts.labels}
    if missing := [name for name in wanted if name.casefold() not in places]:
        raise DataError(
            f"sample.caption_run {sample.caption_run}: has no captions of {', '.join(missing)}. It has: "
            f"{', '.join(theirs[label] for label in texts.labels)}. Fix: set the class to use: "
            f"sample.caption_class_map={{{missing[0]}: NAME}}"
        )
    return PromptBank(
        replace(entry, label=label, image_id=f"bank/{label}/{entry.image_id}")
        for label, name in enumerate(wanted)
        for entry in texts.entries(places[name.casefold()])
    )
