"""Receipts of parts, parts without one, and manifests of many parts."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.test_version import rows, seal
from vapray.errors import DataError
from vapray.store import receipts as module
from vapray.store.files import FileStore
from vapray.store.part_list import INLINE, PART, Part, PartList, part_key, part_name
from vapray.store.receipts import SPAN, Receipt, ReceiptLog, Span, overlapping, source_key
from vapray.store.run_store import Store
from vapray.store.version import Version


def part(number: int, count: int = 5) -> Part:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return Part(f"{digest[:24]}.parquet", digest, 1000 + number, count, number % 2)


def receipt(number: int) -> Receipt:
    return Receipt(part(number), Span(part(-1).name, 10 * number, 10 * number + 10, 6))


def entries(numbers: range) -> list[tuple[str, int]]:
    return [(part(number).name, part(number).bytes) for number in numbers]


@pytest.fixture
def log(tmp_path: Path) -> ReceiptLog:
    return ReceiptLog(FileStore(str(tmp_path)), "images/v")


def reopened(log: ReceiptLog) -> ReceiptLog:
    return ReceiptLog(log._files, "images/v")


def test_receipts_survive_their_process_and_give_the_parts_sorted_by_name(log):
    log.add(map(receipt, range(30)))
    log.flush()
    again = reopened(log)
    assert again.read(entries(range(30))) == []
    assert (again.rows, again.rejects) == (150, 15)
    spans = {span["name"].ljust(12, b"\0"): span for span in again.spans}
    assert all(spans[part_key(part(n).name)]["begin"] == 10 * n for n in range(30))
    assert set(again.spans["source"]) == {source_key(part(-1).name)}
    assert list(again.parts()) == sorted(map(part, range(30)), key=lambda one: one.name)


def test_what_was_not_flushed_has_no_receipt(log):
    log.add(map(receipt, range(3)))
    log.flush()
    log.add(map(receipt, range(3, 5)))
    assert reopened(log).read(entries(range(5))) == sorted(part(number).name for number in (3, 4))


def test_a_receipt_whose_part_is_gone_or_has_another_size_does_not_count(log):
    log.add(map(receipt, range(4)))
    log.flush()
    again = reopened(log)
    assert again.read([*entries(range(2)), (part(3).name, 7)]) == [part(3).name]
    assert len(again.spans) == len(again.parts()) == 2


def test_the_same_receipt_twice_counts_once(log):
    for _ in range(2):
        log.add([receipt(1), receipt(1)])
        log.flush()
    again = reopened(log)
    assert again.read(entries(range(1, 2))) == []
    assert (len(again.spans), again.rows) == (1, 5)


def test_two_writers_do_not_overwrite_each_other(log):
    other = reopened(log)
    for one, number in ((log, 0), (other, 1), (log, 2), (other, 3)):
        one.add([receipt(number)])
        one.flush()
    assert reopened(log).read(entries(range(4))) == []


def test_a_damaged_piece_leaves_parts_to_be_adopted(log, tmp_path):
    for number in range(2):
        log.add([receipt(number)])
        log.flush()
    first = min((tmp_path / "images/v/receipts").iterdir())
    data = first.read_bytes()
    for damage in (b"", data[:50], data[:60] + bytes([data[60] ^ 1]) + data[61:]):
        first.write_bytes(damage)
        assert reopened(log).read(entries(range(2))) == [part(0).name]


def test_many_pieces_become_one_and_say_the_same(log, tmp_path):
    for number in range(20):
        log.add([receipt(number)])
        log.flush()
    again = reopened(log)
    again.read(entries(range(20)))
    again.compact()
    assert len(list((tmp_path / "images/v/receipts").iterdir())) == 1
    last = reopened(log)
    assert last.read(entries(range(20))) == []
    assert np.array_equal(np.sort(last.spans), np.sort(again.spans))
    last.add([receipt(20)])
    last.flush()
    assert reopened(log).read(entries(range(21))) == []


def test_receipts_are_written_when_they_are_many_or_old(log, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS_OF_A_PIECE", 3)
    log.add(map(receipt, range(7)))
    assert len(list((tmp_path / "images/v/receipts").iterdir())) == 2
    monkeypatch.setattr(module, "SECONDS", 0.0)
    log.add([receipt(7)])
    assert reopened(log).read(entries(range(8))) == []


KEYS = st.sampled_from([bytes([value]) * 12 for value in range(1, 4)])


@given(st.lists(st.tuples(KEYS, st.integers(0, 30), st.integers(1, 10)), max_size=12))
def test_spans_are_marked_where_another_one_of_their_source_meets_them(drawn):
    spans = np.array(
        [(bytes([n]) * 12, key, begin, begin + length, 1) for n, (key, begin, length) in enumerate(drawn)], SPAN
    )
    marked = overlapping(spans)
    for one in spans:
        meets = [
            other for other in spans
            if other["name"] != one["name"] and other["source"] == one["source"]
            and other["begin"] < one["end"] and one["begin"] < other["end"]
        ]  # fmt: skip
        assert not meets or marked[spans["name"] == one["name"]].all()
    if not marked.all():
        assert {*spans["source"][marked]}.isdisjoint(spans["source"][~marked])


def test_without_a_span_every_part_is_doubtful():
    spans = np.array([(b"a", b"s", 0, 5, 5), (b"b", b"", 0, 0, 0)], SPAN)
    assert overlapping(spans).all()
    assert not overlapping(spans[:1]).any()


def sealed(tmp_path: Path, count: int) -> Version:
    """A version of parts that nobody wrote."""
    version = Store(str(tmp_path)).version("images", "v")
    version._parts.entries = lambda: iter(entries(range(count)))  # type: ignore[method-assign]
    version.adopt_parts(print) if not count else version.receipts.add(map(receipt, range(count)))
    version.receipts.flush()
    seal(version)
    return version


@pytest.mark.parametrize("count", [0, 7, INLINE, INLINE + 1, 9000])
def test_a_manifest_of_any_number_of_parts_survives_its_files(tmp_path, count):
    written = sealed(tmp_path, count).require_manifest()
    read = Store(str(tmp_path)).version("images", "v").require_manifest()
    assert read == written
    assert list(read.parts) == sorted(map(part, range(count)), key=lambda one: one.name)
    assert (tmp_path / "images/v/manifest").exists() == (count > INLINE)
    listed = [[one.name, one.sha256] for one in read.parts]
    card = json.dumps([read.fingerprint, listed, None]).encode()
    assert read.content_hash == hashlib.sha256(card).hexdigest()[:16]  # the hash of 0.1.0


def test_a_lost_or_changed_piece_of_a_manifest_is_told(tmp_path):
    sealed(tmp_path, INLINE + 1)
    (piece,) = (tmp_path / "images/v/manifest").iterdir()
    data = piece.read_bytes()
    piece.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DataError, match=rf"manifest/{piece.name} is missing or differs.*delete this file"):
        Store(str(tmp_path)).version("images", "v").manifest()
    piece.unlink()
    with pytest.raises(DataError, match="is missing or differs"):
        Store(str(tmp_path)).version("images", "v").manifest()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=12, max_size=12), st.binary(min_size=32, max_size=32))
def test_names_and_digests_with_zeros_at_their_ends_survive(key, digest):
    one = Part(part_name(key), digest.hex(), 1, 2, 3)
    parts = PartList.of([one, replace(one, rows=9)])
    assert parts.entries.dtype == PART
    assert [parts[0], parts[-1]] == [one, replace(one, rows=9)]
    assert list(PartList.from_json(parts.to_json({}.__setitem__), lambda name: None)) == list(parts)
    assert list(parts[1:]) == [parts[1]]


def test_a_part_without_a_receipt_is_adopted_with_its_span(tmp_path):
    """The driver was killed before it wrote the receipt."""
    version = Store(str(tmp_path)).version("images", "v")
    written = version.write_part(rows("a", "b"), Span("the source", 3, 9, 2))
    again = Store(str(tmp_path)).version("images", "v")
    again.adopt_parts(print)
    assert again.receipts.spans[["source", "begin", "end", "asked"]].tolist() == [(source_key("the source"), 3, 9, 2)]
    assert list(seal(again).parts) == [written]


def test_neither_resuming_nor_sealing_opens_a_part_that_has_a_receipt(tmp_path, monkeypatch):
    version = Store(str(tmp_path)).version("images", "v")
    for number in range(5):
        span = Span("the source", number, number + 1, 1)
        version.receipts.add([Receipt(version.write_part(rows(f"image-{number}"), span), span)])
    version.receipts.flush()
    opened = []
    read = FileStore.read
    monkeypatch.setattr(FileStore, "read", lambda files, name: opened.append(name) or read(files, name))
    again = Store(str(tmp_path)).version("images", "v")
    again.adopt_parts(print)
    assert seal(again).rows == 5
    assert any("receipts/" in name for name in opened)
    assert not [name for name in opened if "/parts/" in name]


def test_a_part_with_a_receipt_is_removed_if_its_size_differs_and_refused_by_its_readers_if_not(tmp_path):
    """Neither a resumed stage nor sealing opens it."""
    version = Store(str(tmp_path)).version("images", "v")
    version.write_part(rows("a", "b"), Span.whole("the test", 2))
    version.adopt_parts(print)
    path = Path(version.uri) / "parts" / version.part_names()[0]
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    said: list[str] = []
    Store(str(tmp_path)).version("images", "v").adopt_parts(said.append)
    assert not path.exists()
    assert len(said) == 1
    path.write_bytes(data)
    Store(str(tmp_path)).version("images", "v").adopt_parts(said.append)
    path.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
    again = Store(str(tmp_path)).version("images", "v")
    again.adopt_parts(said.append)
    seal(again)
    assert len(said) == 1
    with pytest.raises(DataError, match=rf"{path}: .*sha256 is .*or delete it and .*manifest.json and run the same"):
        again.read_part(path.name)
