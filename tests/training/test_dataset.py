"""Training rows are joined, sorted and mapped."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vapray.errors import DataError
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part, pack
from vapray.training.dataset import open_or_build_cache


def tables(tmp_path, ids, *, order=1, without_latents=(), captions=(), notes=None):
    store = Store(str(tmp_path))
    bank, latents = store.version("prompt_bank", "b"), store.version("latents", "l")
    for one in ids[::order]:
        number = int(one[1:])
        row = {"image_id": one, "label": number % 3, "split": "test" if number == 4 else "train", "group": one}
        context = np.full((number + 1, 5), number, dtype=np.float16)
        tokens = {"context": pack(context), "num_tokens": number + 1, "width": 5}
        bank.write_part(build_part(TABLES["prompt_bank"], [row | {"caption": dict(captions).get(one, one)} | tokens]))
        if one not in without_latents:
            moments = [np.full((4, 2, 2), number + 0.5 * flipped, dtype=np.float16) for flipped in (0, 1)]
            sizes = {"channels": 2, "height": 2, "width": 2}
            pair = [
                row | sizes | {"key": f"{one}/{f}", "flipped": bool(f), "moments": pack(moments[f])} for f in (0, 1)
            ]
            for flipped, half in enumerate(pair):
                half["teacher"] = pack(np.full((3, 2, 2), 10 * number + flipped, np.int8)) if notes else None
            latents.write_part(build_part(TABLES["latents"], pair))
    for version in (bank, latents):
        version.seal(stage="x", sections={}, inputs={}, seconds=0, versions={}, notes=notes or {})
    return bank, latents


IDS = [f"i{number}" for number in range(6)]


def test_rows_of_the_split_that_are_in_both_tables_by_id(tmp_path):
    rows = open_or_build_cache(*tables(tmp_path, IDS, without_latents=("i2",)), tmp_path / "cache")
    assert rows.labels.tolist() == [0, 1, 0, 2]
    assert rows.moments[:, :, 0, 0, 0].tolist() == [[0, 0.5], [1, 1.5], [3, 3.5], [5, 5.5]]


CAPTIONS = {
    "i0": "Opacity in the left upper lung.",
    "i1": "A cleft, upright and bright, with a topical cream.",
    "i3": "Right-sided shadow.",
    "i5": "Spots at the top.",
}


def test_captions_that_name_a_side_are_known(tmp_path):
    rows = open_or_build_cache(*tables(tmp_path, IDS, captions=CAPTIONS), tmp_path / "cache")
    assert rows.sided.tolist() == [3, 0, 0, 1, 2]
    assert rows.may_mirror(np.array([3, 1, 0, 4])).tolist() == [False, True, False, True]
    assert rows.may_turn(np.array([3, 1, 0, 4])).tolist() == [False, True, False, False]


def test_a_teacher_s_features_are_joined_too_and_only_where_there_is_one(tmp_path):
    taught = tables(tmp_path, IDS, notes={"teacher_shape": [3, 2, 2]}, without_latents=("i2",))
    rows = open_or_build_cache(*taught, tmp_path / "cache")
    assert rows.teacher.shape == (4, 2, 3, 2, 2)
    assert rows.teacher[:, :, 0, 0, 0].tolist() == [[0, 1], [10, 11], [30, 31], [50, 51]]
    assert rows.read_teacher(np.array([1, 3]), np.array([1, 0]))[:, 2, 1, 1].tolist() == [11, 50]
    assert rows.moments[:, :, 0, 0, 0].tolist() == [[0, 0.5], [1, 1.5], [3, 3.5], [5, 5.5]]
    plain = open_or_build_cache(*tables(tmp_path / "plain", IDS), tmp_path / "plain-cache")
    assert plain.teacher is None
    assert plain.read_teacher(np.array([0]), np.array([0])) is None


def test_the_order_of_parts_does_not_matter(tmp_path):
    one = open_or_build_cache(*tables(tmp_path / "a", IDS), tmp_path / "cache-a")
    other = open_or_build_cache(*tables(tmp_path / "b", IDS, order=-1), tmp_path / "cache-b")
    np.testing.assert_array_equal(one.moments, other.moments)
    np.testing.assert_array_equal(one.tokens, other.tokens)


def test_contexts_are_padded_to_the_longest_asked_for(tmp_path):
    rows = open_or_build_cache(*tables(tmp_path, IDS), tmp_path / "cache")
    asked = np.array([0, 3])
    assert rows.lengths(asked).tolist() == [1, 4]
    _, context = rows.read(asked, np.zeros(2, dtype=np.int64), asked, rows.lengths(asked))
    assert context.shape == (2, 4, 5)
    assert context[0, 0].tolist() == [0] * 5
    assert context[1].unique().tolist() == [3]


def test_arrays_are_mapped_not_read(tmp_path):
    rows = open_or_build_cache(*tables(tmp_path, IDS), tmp_path / "cache")
    (line,) = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    begin, end = (int(address, 16) for address in line.split()[0].split("-"))
    for array in (rows.moments, rows.tokens):
        assert begin <= array.ctypes.data < array.ctypes.data + array.nbytes <= end


def test_an_empty_join_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no image of the train split is in both"):
        open_or_build_cache(*tables(tmp_path, IDS, without_latents=[*IDS]), tmp_path / "cache")


def test_any_arrow_reader_opens_the_file(tmp_path):
    open_or_build_cache(*tables(tmp_path, IDS), tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.arrow")
    rows = pa.ipc.open_file(path).read_all()
    rows.validate(full=True)
    assert rows.column("image_id").to_pylist() == ["i0", "i1", "i2", "i3", "i5"]
    assert rows.column("label").to_pylist() == [0, 1, 2, 0, 2]
    assert rows.column("context").to_pylist()[1] == [[1.0] * 5] * 2
    np.testing.assert_array_equal(
        rows.column("moments").combine_chunks().to_numpy_ndarray()[3, 1], np.full((4, 2, 2), 3.5)
    )


def test_pages_that_were_read_take_no_memory_and_come_back(tmp_path):
    rows = open_or_build_cache(*tables(tmp_path, IDS), tmp_path / "cache")

    def resident() -> int:
        maps = Path("/proc/self/smaps").read_text()
        return int(maps.split(str(tmp_path), 1)[1].split("Rss:", 1)[1].split()[0])

    before = rows.moments.copy()
    assert resident() > 0
    rows.read(np.array([3, 4]), np.array([0, 1]), np.array([3, 4]), np.array([1, 1]))
    assert resident() == 0
    np.testing.assert_array_equal(rows.moments, before)
