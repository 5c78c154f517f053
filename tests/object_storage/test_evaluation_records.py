"""Evaluations of a service are kept in a bucket as they are on a disk."""

import threading

import pytest

from serve.backend import EvaluationJob
from serve.errors import ApiError
from serve.evaluations.evaluation_store import EvaluationStore
from tests.serve.uploads import uploaded

JOB = EvaluationJob("m", uploaded(b"one", b"two"))


def test_an_evaluation_lives_in_a_bucket(root):
    records = EvaluationStore(root)
    id = records.create(JOB, "ada", "k").id
    assert EvaluationStore(root).create(JOB, "ada", "k").id == id
    with pytest.raises(ApiError, match="another evaluation"):
        records.create(EvaluationJob("m", n=2), "ada", "k")
    assert records.dispatch(id) and not records.dispatch(id)
    assert records.start(id, "r1") and [*records.images(id)] == [b"one", b"two"]
    records.heartbeat(id, "r1", 1)
    assert records.get(id, "ada").done == 1
    for value in (1, 2):
        records.finish(id, results={"n": value})
    with pytest.raises(FileNotFoundError):
        records.images(id)
    assert [(one.id, one.results) for one in records.list_for_owner("ada")] == [(id, {"n": 1})]
    assert records.list_for_owner("bob") == []


def test_of_many_at_once_with_one_key_all_get_one_evaluation(root):
    ids: list[str] = []
    barrier = threading.Barrier(4)

    def create() -> None:
        records = EvaluationStore(root)
        barrier.wait()
        ids.append(records.create(JOB, "ada", "k").id)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4 and len(set(ids)) == 1
    assert [one.id for one in EvaluationStore(root).list_for_owner("ada")] == ids[:1]
