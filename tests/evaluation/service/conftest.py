"""The small run as a service sees it, from its checkpoint."""

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.pictures import Images
from vapray.data.image_loading import read_frames
from vapray.evaluation.service.real_pictures import RealPictures, find_real_pictures
from vapray.evaluation.service.reference import ReferenceStatistics
from vapray.sampling.checkpoint_loading import Card, read_card


@pytest.fixture(scope="session")
def card(small_checkpoint: Path) -> Card:
    return read_card(str(small_checkpoint))


@pytest.fixture(scope="session")
def real(small_checkpoint: Path, card: Card) -> RealPictures:
    found = find_real_pictures(str(small_checkpoint), card.class_names)
    assert found
    return found


@pytest.fixture(scope="session")
def reference(real: RealPictures, card: Card, tmp_path_factory) -> ReferenceStatistics:
    return ReferenceStatistics.load(real, card.config, str(tmp_path_factory.mktemp("state")), lambda _: None)


@pytest.fixture(scope="session")
def frames(real: RealPictures) -> dict[str, Images]:
    """Of each split, sorted by image id."""
    rows = real.images.read(["image_id", "split", "path"]).to_pylist()
    paths = {split: [row["path"] for row in rows if row["split"] == split] for split in ("train", "test")}
    return {split: read_frames(some, 32)[0] for split, some in paths.items()}


@pytest.fixture(scope="session")
def noise() -> Images:
    return np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
