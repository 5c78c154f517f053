"""The small run as a service sees it, from its checkpoint."""

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.pictures import Images
from vapray.data.image_loading import load_square_images
from vapray.evaluation.service.real_images import RealImages, find_real_images
from vapray.evaluation.service.reference import ReferenceStatistics
from vapray.sampling.checkpoint_loading import CheckpointMetadata, read_metadata


@pytest.fixture(scope="session")
def card(small_checkpoint: Path) -> CheckpointMetadata:
    return read_metadata(str(small_checkpoint))


@pytest.fixture(scope="session")
def real(small_checkpoint: Path, card: CheckpointMetadata) -> RealImages:
    found = find_real_images(str(small_checkpoint), card.class_names)
    assert found
    return found


@pytest.fixture(scope="session")
def reference(real: RealImages, card: CheckpointMetadata, tmp_path_factory) -> ReferenceStatistics:
    return ReferenceStatistics.load(real, card.config, str(tmp_path_factory.mktemp("state")), lambda _: None)


@pytest.fixture(scope="session")
def frames(real: RealImages) -> dict[str, Images]:
    """Of each split, sorted by image id."""
    rows = real.images.read(["image_id", "split", "path"]).to_pylist()
    paths = {split: [row["path"] for row in rows if row["split"] == split] for split in ("train", "test")}
    return {split: load_square_images(some, 32)[0] for split, some in paths.items()}


@pytest.fixture(scope="session")
def noise() -> Images:
    return np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
