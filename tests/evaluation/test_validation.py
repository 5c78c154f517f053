"""Validation of a finished run: whose images it measures."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from vapray.errors import DataError
from vapray.evaluation.validation import FrechetValidation
from vapray.sampling.checkpoint_loading import LoadedCheckpoint
from vapray.store.run_store import Store

TABLES = ("images", "prompt_bank", "latents", "autoencoder")


def test_losses_are_those_of_held_out_images_and_of_as_many_training_images(
    small_run: Path, small_checkpoint: Path
) -> None:
    checkpoint, store = LoadedCheckpoint(str(small_checkpoint), "ema"), Store(str(small_run))
    tables = [store.finished(name)[-1] for name in TABLES]
    validation = FrechetValidation.of(checkpoint.metadata.config, *tables)
    assert validation is not None
    split_of = {row["image_id"]: row["split"] for row in tables[0].read(["image_id", "split"]).to_pylist()}
    assert {split_of[row["image_id"]] for row in validation.rows} == {"validation"}
    assert {split_of[row["image_id"]] for row in validation.training} == {"train"}
    assert len({row["image_id"] for row in validation.training}) == len(validation.rows)
    values = validation(checkpoint.network)
    assert {"validation_distance", "validation_loss", "training_images_loss"} <= set(values)
    assert all(math.isfinite(value) for value in values.values())
    assert values["training_images_loss"] != values["validation_loss"]
    swapped = replace(validation, rows=validation.training, training=validation.rows)(checkpoint.network)
    assert swapped["training_images_loss"] == values["validation_loss"]
    assert swapped["validation_loss"] == values["training_images_loss"]
    unreadable = tuple({**row, "path": "nowhere.png"} for row in validation.training)
    assert "training_images_loss" not in replace(validation, training=unreadable)(checkpoint.network)
    with pytest.raises(DataError, match=r"0 of .* validation images can be read"):
        replace(validation, rows=unreadable).prepare()
    assert values == validation(checkpoint.network)
