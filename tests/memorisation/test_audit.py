"""The audit on drawn pictures, from measurements to the verdict: copies are found, new pictures are not accused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from vapray.data.decode import center_crop_resize
from vapray.data.phantom.modalities import find_modality
from vapray.data.phantom.plan import draw_view, plan_views
from vapray.evaluation.classifier import train_classifier
from vapray.evaluation.features import RandomConvolutions
from vapray.evaluation.measurement import ImageMeasurer, stack_features
from vapray.memorisation.audit import Memorisation, audit
from vapray.memorisation.candidates import MAX_HELD_OUT, select_candidates, ungrouped_held_out
from vapray.memorisation.copy_test import CANNOT_TELL, COPIES, NONE
from vapray.memorisation.planting import PLANTED, PLANTS, plant
from vapray.memorisation.search import NeighbourSearch
from vapray.metrics.frechet import FeatureStatistics
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

COUNTS = {"reference": 150, "held_out": 120, "generated": 60}
Pictures = dict[str, NDArray[np.uint8]]


@pytest.fixture(scope="module")
def drawn() -> Pictures:
    """Phantoms of as many lesions as sets ask for, of which generated ones are as new as held-out ones."""
    modality = find_modality("dermoscopy")
    views = plan_views(modality, 2 * sum(COUNTS.values()), seed=3)
    of_lesions = list({view.lesion_id: view for view in views}.values())[: sum(COUNTS.values())]
    frames = [center_crop_resize(draw_view(modality, view, 48, 64), 32) for view in of_lesions]
    parts = np.split(np.stack(frames), np.cumsum(list(COUNTS.values()))[:-1])
    return dict(zip(COUNTS, parts, strict=True))


@pytest.fixture(scope="module")
def examiner(drawn: Pictures) -> ImageMeasurer:
    labels = np.arange(len(drawn["reference"])) % 2
    classifier = train_classifier(drawn["reference"], labels, 2, seed=0, steps=2)
    return ImageMeasurer(RandomConvolutions(resize=32), classifier, "pictures whose attributes nobody measures")


def measure(version: Version, examiner: ImageMeasurer, pictures: Pictures) -> None:
    for name, images in pictures.items():
        ids = [f"{name}-{number:04d}" for number in range(len(images))]
        version.write_part(build_part(TABLES["measurements"], examiner.rows(name, ids, [0] * len(ids), images)))
    rng, sources = np.random.default_rng(0), enumerate(pictures["reference"][:PLANTED])
    copies = {f"{row}/{kind}": one for row, source in sources for kind, one in plant(source, rng).items()}
    planted = examiner.rows("planted", list(copies), [0] * len(copies), np.stack(list(copies.values())))
    version.write_part(build_part(TABLES["measurements"], planted))


def look(version: Version, held_out: int) -> Memorisation:
    rows = version.read(["key", "set", "pixels", "features"])
    statistics = FeatureStatistics.of(stack_features([row for row in rows.to_pylist() if row["set"] == "reference"]))
    search = NeighbourSearch(version, statistics.mean, statistics.scale)
    found = search(select_candidates(rows, {f"held_out-{number:04d}" for number in range(held_out)}, seed=0))
    return audit(found.to_pylist(), related_left_out=0, n_training=statistics.count)


@pytest.fixture(scope="module")
def measured(drawn: Pictures, examiner: ImageMeasurer, tmp_path_factory: pytest.TempPathFactory) -> Version:
    version = Store(str(tmp_path_factory.mktemp("measured"))).version("measurements", "0" * 12)
    measure(version, examiner, drawn)
    return version


def test_new_pictures_are_not_accused_and_all_planted_copies_are_found(measured: Version) -> None:
    found = look(measured, 120)
    assert found.verdict == NONE
    assert found.pixels.copies == 0
    assert found.planted_found.keys() == PLANTS.keys()
    assert all(share >= 0.9 for share in found.planted_found.values())
    assert (found.pixels.n_held_out, found.n_training) == (120, 150)
    assert b'"verdict": "none found"' in found.to_json()


def test_four_copies_among_sixty_pictures_are_found_and_named(
    drawn: Pictures, examiner: ImageMeasurer, tmp_path: Path
) -> None:
    generated, rng = drawn["generated"].copy(), np.random.default_rng(1)
    ways = ("flipped", "moved", "re-encoded", "noisy")
    for row, way in enumerate(ways):
        generated[row] = PLANTS[way](drawn["reference"][100 + row], rng)
    version = Store(str(tmp_path)).version("measurements", "0" * 12)
    measure(version, examiner, {**drawn, "generated": generated})
    found = look(version, 120)
    assert found.verdict == COPIES
    assert found.pixels.copies == 4
    assert "4 are copies: as near as planted copies" in found.why
    pairs = {(pair.generated, pair.training) for pair in found.nearest_by_pixels[:4]}
    assert pairs == {(f"sample/generated-{row:04d}", f"image/reference-{100 + row:04d}") for row in range(4)}


def test_too_few_held_out_pictures_are_said_to_be_too_few(measured: Version) -> None:
    found = look(measured, 99)
    assert (found.verdict, found.pixels.n_held_out) == (CANNOT_TELL, 99)
    assert "99 share no group with training images, and 100 are required" in found.why


def test_the_result_does_not_depend_on_what_is_looked_up_together(measured: Version) -> None:
    rows = measured.read(["key", "set", "pixels", "features"])
    candidates = select_candidates(rows, {"held_out-0000", "held_out-0001"}, seed=0)
    search = NeighbourSearch(measured, np.zeros(96), np.ones(96))
    whole = search(candidates)
    parts = [search(candidates.slice(begin, 70)) for begin in range(0, candidates.num_rows, 70)]
    assert pa.concat_tables(parts).equals(whole)


def test_pictures_that_share_a_group_with_training_do_not_calibrate() -> None:
    images = pa.table(
        {
            "image_id": ["a", "b", "c", "d", "e"],
            "group": ["patient 1", "patient 1", "patient 2", "patient 3", None],
            "split": ["train", "test", "test", "validation", "test"],
        }
    )
    assert ungrouped(images) == {"c", "e"}
    assert ungrouped(replace_split(images, ["train", "train", "train", "test", "test"])) == {"d", "e"}


def ungrouped(images: pa.Table) -> set[str]:
    held_out, training = (images.filter(pc.field("split") == split) for split in ("test", "train"))
    return ungrouped_held_out(held_out, [training.slice(0, 1), training.slice(1)])


def replace_split(images: pa.Table, splits: list[str]) -> pa.Table:
    return images.set_column(2, "split", pa.array(splits))


def test_held_out_pictures_are_drawn_where_there_are_many_and_generated_ones_never() -> None:
    count = MAX_HELD_OUT + 500
    keys = [f"image/{number}" for number in range(count)] + [f"sample/{number}" for number in range(count)]
    sets = ["held_out"] * count + ["generated"] * count
    rows = pa.table({"key": keys, "set": sets, "pixels": [b""] * 2 * count, "features": [b""] * 2 * count})
    asked = select_candidates(rows, {str(number) for number in range(count)}, seed=0)
    found = asked["set"].to_pylist()
    assert (found.count("held_out"), found.count("generated")) == (MAX_HELD_OUT, count)
    assert asked["key"].to_pylist() == sorted(asked["key"].to_pylist())
    assert asked.equals(
        select_candidates(rows.take(list(range(2 * count))[::-1]), {str(n) for n in range(count)}, seed=0)
    )
