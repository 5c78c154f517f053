"""Trained autoencoders in the stages ``autoencoder`` and ``encode``, without Ray."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from vapray.config import Config
from vapray.config.loader import load_config
from vapray.latents.description import describe_autoencoder
from vapray.latents.fitting.stage import _make
from vapray.latents.latent_space import LatentSpace, sample_latent
from vapray.latents.stage import _EncodeImages, _latent_space
from vapray.store.files import FileStore
from vapray.store.tables import TABLES, build_part, unpack
from vapray.store.version import Version

from . import trained_models
from .discs import draw_discs


def asking(kind: str, folder: Path, *more: str) -> Config:
    layout = trained_models.stable_diffusion if kind == "diffusers" else trained_models.taef2
    channels = {"diffusers": 4, "taef2": 32}[kind]
    own = [f"kind={kind}", f"model={layout(folder / kind)}", f"channels={channels}", "factor=8", *more]
    return load_config(None, [*(f"autoencoder.{setting}" for setting in own), "pools.autoencoder.num_cpus=1"])


@pytest.fixture
def images(tmp_path: Path) -> Version:
    rows = []
    for number, image in enumerate(draw_discs(8, side=32)):
        path = tmp_path / f"{number}.png"
        Image.fromarray(image).save(path)
        split = "validation" if number > 5 else "train"
        rows.append({"image_id": str(number), "label": 0, "split": split, "group": "", "path": str(path)})
    version = Version(FileStore(str(tmp_path / "run")), "images", "a")
    absent = {name: _nothing(kind) for name, kind in zip(*_columns("images"), strict=True) if name not in rows[0]}
    version.write_part(build_part(TABLES["images"], [absent | row for row in rows], {}))
    return version


def _columns(table: str) -> tuple[list[str], list[pa.DataType]]:
    schema = TABLES[table].schema
    return schema.names, schema.types


def _nothing(kind: pa.DataType) -> Any:
    return "" if pa.types.is_string(kind) else 0 if pa.types.is_integer(kind) else None


def encoded(config: Config, images: Version) -> tuple[dict[str, Any], Version, LatentSpace]:
    """What both stages leave: the first one's notes, the table of latents, its space."""
    autoencoder, latents = (Version(images.files, table, "b") for table in ("autoencoder", "latents"))
    notes = _make(config, images, autoencoder, lambda *_: None)
    rows = images.read(["image_id", "label", "split", "group", "path"])
    latents.write_part(_EncodeImages(config, autoencoder)(rows))
    return notes, latents, LatentSpace.from_record(_latent_space(config, autoencoder, latents))


def test_principal_components_are_fitted_in_the_stage_and_bring_their_own_scale(images: Version) -> None:
    own = ("kind=pca", "channels=12", "factor=4")
    config = load_config(None, [*(f"autoencoder.{setting}" for setting in own), "pools.autoencoder.num_cpus=1"])
    notes, latents, space = encoded(config, images)
    assert space == LatentSpace(12, 8, (0.0,) * 12, (1.0,) * 12)
    assert notes["psnr_heldout"] > 20
    assert describe_autoencoder(config.autoencoder, notes).startswith("12 principal components of patches of 4 pixels")
    assert {(row["channels"], row["height"]) for row in latents.read().to_pylist()} == {(12, 8)}


def test_stable_diffusions_scale_is_its_own_and_taef2s_is_measured_on_training_latents(
    tmp_path: Path, images: Version
) -> None:
    _, _, published = encoded(asking("diffusers", tmp_path), images)
    assert published == LatentSpace(4, 4, (0.0,) * 4, (1 / 0.18215,) * 4)
    images.files.remove("autoencoder/b")
    images.files.remove("latents/b")
    _, latents, measured = encoded(asking("taef2", tmp_path), images)
    assert (measured.channels, measured.side) == (32, 4)
    train = [row for row in latents.read().to_pylist() if row["split"] == "train"]
    assert len(train) == 12
    moments = np.concatenate([unpack(row["moments"], "float16", 1, 64, 4, 4) for row in train])
    drawn = sample_latent(torch.from_numpy(moments.astype(np.float32)), torch.randn(12, 32, 4, 4))
    normalized = measured.normalize(drawn)
    assert torch.allclose(normalized.mean((0, 2, 3)), torch.zeros(32), atol=1e-2)
    assert torch.allclose(normalized.std((0, 2, 3), correction=0), torch.ones(32), atol=1e-2)


def test_tuning_the_decoder_changes_what_is_stored_but_no_latent(tmp_path: Path, images: Version) -> None:
    plain, latents, space = encoded(asking("diffusers", tmp_path), images)
    before = latents.read().to_pylist()
    images.files.remove("autoencoder/b")
    images.files.remove("latents/b")
    config = asking("diffusers", tmp_path, "tune_decoder_steps=3", "batch_size=2")
    tuned, latents, tuned_space = encoded(config, images)
    assert tuned["sha256"] != plain["sha256"]
    assert latents.read().to_pylist() == before
    assert tuned_space == space
    assert plain["rows"] == 0 and tuned["rows"] == 6
    text = describe_autoencoder(config.autoencoder, tuned)
    assert text.startswith(f"AutoencoderKL of {tmp_path / 'diffusers'}; ")
    assert "decoder tuned for 3 steps: PSNR" in text
    assert text.endswith("without LPIPS, on 2 of the validation split")
