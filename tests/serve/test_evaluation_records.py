"""Evaluations are records: taken once, kept, found by their owner alone, ended once, taken up again when abandoned."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from serve.backend import EvaluationJob
from serve.errors import ApiError
from serve.evaluations.evaluation_store import MAX_ATTEMPTS, STALE_SECONDS, EvaluationStore
from tests.serve.uploads import uploaded
from vapray.sampling.generated import SamplingSettings

UPLOADED = EvaluationJob("m", uploaded(b"one", b"two", b"three"))
GENERATED = EvaluationJob(
    "m",
    n=40,
    label=2,
    seed=7,
    settings=SamplingSettings(guidance_scale=2.0, guidance_interval=(100, 800), prototypes="bypassed"),
)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(tmp_path: Path, clock: Clock) -> EvaluationStore:
    return EvaluationStore(str(tmp_path), clock)


def test_a_new_evaluation_is_queued_and_is_there_for_other_processes(records, tmp_path):
    created = records.create(UPLOADED, "ada")
    assert (created.status, created.n, created.done, created.source) == ("queued", 3, 0, "uploaded")
    assert created.created == 1_000_000
    assert EvaluationStore(str(tmp_path)).get(created.id, "ada") == created
    generated = records.create(GENERATED, "ada")
    assert (generated.source, generated.generated["prototypes"]) == ("generated", "bypassed")
    assert (generated.generated["guidance_scale"], created.generated) == (2.0, {})


def test_an_order_comes_back_as_it_was_given(records):
    id = records.create(GENERATED, "ada").id
    task = records.start(id, "r1")
    assert task and task.job == GENERATED and task.uploaded == 0
    id = records.create(UPLOADED, "ada").id
    task = records.start(id, "r1")
    assert task and task.job == replace(UPLOADED, images=None) and task.uploaded == 3
    assert [*records.images(id)] == [b"one", b"two", b"three"]


def test_nobody_else_finds_an_evaluation(records):
    id = records.create(UPLOADED, "ada").id
    for wanted, owner in ((id, "bob"), ("eval_" + "0" * 32, "ada"), ("../evaluations/" + id, "ada"), ("", "ada")):
        with pytest.raises(ApiError) as refused:
            records.get(wanted, owner)
        assert (refused.value.status, refused.value.code) == (404, "not_found")
    assert records.list_for_owner("bob") == []


def test_an_owner_has_its_own_listed_newest_first(records, clock):
    ids = []
    for owner in ("ada", "bob", "ada", "ada"):
        clock.now += 0.001
        ids.append(records.create(GENERATED, owner).id)
    assert [one.id for one in records.list_for_owner("ada")] == [ids[3], ids[2], ids[0]]
    assert [one.id for one in records.list_for_owner("bob")] == [ids[1]]


def test_the_same_key_gives_the_same_evaluation_and_no_other_one(records, tmp_path):
    first = records.create(UPLOADED, "ada", "k")
    assert records.create(UPLOADED, "ada", "k") == first
    for other in (replace(UPLOADED, images=uploaded(b"one", b"two")), replace(UPLOADED, seed=1), GENERATED):
        with pytest.raises(ApiError) as refused:
            records.create(other, "ada", "k")
        assert (refused.value.status, refused.value.code) == (409, "idempotency_conflict")
    assert records.create(UPLOADED, "bob", "k").id != first.id
    assert len(records.list_for_owner("ada")) == 1
    assert len(list((tmp_path / "evaluations").iterdir())) == 2


def test_of_many_at_once_with_one_key_all_get_one_evaluation(records, tmp_path):
    ids: list[str] = []
    barrier = threading.Barrier(8)

    def create() -> None:
        barrier.wait()
        ids.append(EvaluationStore(str(tmp_path)).create(UPLOADED, "ada", "k").id)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8 and len(set(ids)) == 1
    assert [one.id for one in records.list_for_owner("ada")] == ids[:1]
    assert [folder.name for folder in (tmp_path / "evaluations").iterdir()] == ids[:1]


def test_a_death_between_key_and_listing_is_mended_by_the_retry(records, tmp_path):
    id = records.create(UPLOADED, "ada", "k").id
    (marker,) = tmp_path.glob(f"evaluation_owners/*/{id}")
    marker.unlink()
    assert records.list_for_owner("ada") == []
    assert records.create(UPLOADED, "ada", "k").id == id
    assert [one.id for one in records.list_for_owner("ada")] == [id]


def test_a_runner_is_called_once_until_it_is_silent_for_too_long(records, clock):
    id = records.create(GENERATED, "ada").id
    assert records.dispatch(id) and not records.dispatch(id)
    assert records.start(id, "r1")
    for _ in range(3):
        clock.now += STALE_SECONDS
        records.heartbeat(id, "r1", 12)
        assert not records.dispatch(id)
    assert (records.get(id, "ada").status, records.get(id, "ada").done) == ("running", 12)
    clock.now += STALE_SECONDS + 1
    assert records.dispatch(id) and not records.dispatch(id)


def test_a_call_that_never_arrived_is_made_again(records, clock):
    id = records.create(GENERATED, "ada").id
    assert records.dispatch(id)
    clock.now += STALE_SECONDS + 1
    assert records.dispatch(id)
    assert records.start(id, "r1")


def test_a_second_runner_leaves_a_living_one_alone_and_follows_a_dead_one(records, clock):
    id = records.create(GENERATED, "ada").id
    assert records.start(id, "r1") and records.start(id, "r2") is None
    clock.now += STALE_SECONDS + 1
    assert records.dispatch(id)
    assert records.start(id, "r2") and records.start(id, "r1") is None


def test_the_first_outcome_stands(records):
    id = records.create(UPLOADED, "ada").id
    records.start(id, "r1")
    records.finish(id, results={"fid": {"value": 1.0}})
    records.finish(id, results={"fid": {"value": 2.0}})
    records.finish(id, error="late")
    records.heartbeat(id, "r2", 1)
    ended = records.get(id, "ada")
    assert (ended.status, ended.done, ended.results, ended.error) == ("succeeded", 3, {"fid": {"value": 1.0}}, None)
    assert not records.dispatch(id) and records.start(id, "r3") is None


def test_uploaded_pictures_are_gone_when_it_has_ended(records, tmp_path):
    for how in ({"results": {}}, {"error": "no"}):
        id = records.create(UPLOADED, "ada").id
        assert (tmp_path / "evaluation_pictures" / id).exists()
        records.finish(id, **how)
        with pytest.raises(FileNotFoundError):
            records.images(id)
        assert not list(tmp_path.glob("evaluation_pictures/*"))


def test_uploads_that_nobody_will_ask_for_are_swept_away(records, clock, tmp_path):
    def uploads() -> set[str]:
        return {folder.name for folder in tmp_path.glob("evaluation_pictures/*")}

    ended, forgotten, unfinished, young = (records.create(UPLOADED, "ada").id for _ in range(4))
    records.finish(ended, results={})
    (tmp_path / "evaluation_pictures" / ended).write_bytes(b"its runner died between outcome and removal")
    (tmp_path / "evaluations" / unfinished / "order.json").unlink()  # a request died before its record was whole
    records.delete_expired()
    assert uploads() == {forgotten, unfinished, young}
    clock.now += 2 * 86_400
    young = records.create(UPLOADED, "ada").id
    records.delete_expired()
    assert uploads() == {young}
    assert records.get(forgotten, "ada").status == "failed"
    assert records.get(young, "ada").status == "queued"


def test_a_failure_says_why(records):
    id = records.create(UPLOADED, "ada").id
    records.start(id, "r1")
    records.heartbeat(id, "r1", 2)
    records.finish(id, error="images[2]: zero bytes")
    ended = records.get(id, "ada")
    assert (ended.status, ended.error, ended.done) == ("failed", "images[2]: zero bytes", 2)


def test_an_evaluation_whose_runners_all_die_fails(records, clock):
    id = records.create(GENERATED, "ada").id
    for number in range(MAX_ATTEMPTS):
        assert records.dispatch(id) and records.start(id, f"r{number}")
        clock.now += STALE_SECONDS + 1
    assert records.dispatch(id) and records.start(id, "last") is None
    assert records.get(id, "ada").status == "failed"


def test_a_damaged_file_spoils_nothing_else(records, tmp_path):
    ids = sorted(records.create(UPLOADED, "ada").id for _ in range(3))
    (tmp_path / "evaluations" / ids[0] / "order.json").write_bytes(b"{")
    for name in ("progress", "outcome"):
        (tmp_path / "evaluations" / ids[1] / f"{name}.json").write_bytes(b"[1")
    assert [one.id for one in records.list_for_owner("ada")] == [ids[2], ids[1]]
    assert records.dispatch(ids[1]) and records.start(ids[1], "r1")
    records.finish(ids[1], results={"n": 3})
    assert records.get(ids[1], "ada").status == "succeeded"


def test_a_damaged_key_stands_for_the_next_evaluation_with_it(records, tmp_path):
    first = records.create(UPLOADED, "ada", "k").id
    (key,) = tmp_path.glob("evaluation_keys/*")
    key.write_bytes(b"{")
    second = records.create(GENERATED, "ada", "k").id
    assert first != second == records.create(GENERATED, "ada", "k").id
    assert len(records.list_for_owner("ada")) == 2


def test_damaged_uploads_are_never_measured(records, tmp_path):
    id = records.create(replace(UPLOADED, images=uploaded(b"x" * 5000, b"y" * 5000)), "ada").id
    file = tmp_path / "evaluation_pictures" / id
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(data)
    with pytest.raises(OSError, match="CRC"):
        next(records.images(id))


def test_neither_owners_nor_keys_can_be_read_from_the_state(records, tmp_path):
    records.create(UPLOADED, "ada-lovelace", "my-secret-key")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    for path in files:
        assert b"ada-lovelace" not in path.read_bytes() + str(path).encode()
        assert b"my-secret-key" not in path.read_bytes() + str(path).encode()
