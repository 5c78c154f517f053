"""Evaluations can be deleted, and old or surplus ones are: no file of theirs stays."""

import asyncio
from pathlib import Path

import pytest

from serve.backend import EvaluationJob
from serve.deployments.evaluator import EvaluatorReplica
from serve.errors import ApiError
from serve.evaluations.evaluation_store import SECONDS_OF_A_DAY, EvaluationDeletedError, EvaluationStore
from serve.settings import EvaluationLimits, ModelSettings, ServiceSettings
from tests.serve.test_evaluation_records import GENERATED, UPLOADED, Clock


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_deleted_evaluation_leaves_no_file_and_is_only_its_owners_to_delete(tmp_path):
    records = EvaluationStore(str(tmp_path))
    id, other = records.create(UPLOADED, "ada", "key").id, records.create(GENERATED, "bob").id
    with pytest.raises(ApiError, match="Unknown evaluation"):
        records.delete(id, "bob")
    assert records.start(id, "r1")
    records.delete(id, "ada")
    assert not [path for path in files(tmp_path) if other not in str(path)]
    assert records.list_for_owner("ada") == []
    with pytest.raises(ApiError, match="Unknown evaluation"):
        records.delete(id, "ada")
    assert records.create(UPLOADED, "ada", "key").id != id


def test_a_runner_of_a_deleted_evaluation_is_told_and_brings_nothing_back(tmp_path):
    records = EvaluationStore(str(tmp_path))
    id = records.create(UPLOADED, "ada").id
    assert records.start(id, "r1")
    records.delete(id, "ada")
    with pytest.raises(EvaluationDeletedError):
        records.heartbeat(id, "r1", 2)
    records.finish(id, results={})
    assert not files(tmp_path)


def test_old_and_surplus_evaluations_are_deleted(tmp_path):
    clock = Clock()
    records = EvaluationStore(str(tmp_path), clock, EvaluationLimits(days=2, per_key=3))
    ids = []
    for _ in range(5):
        clock.now += 1
        ids.append(records.create(UPLOADED, "ada").id)
    assert [one.id for one in records.list_for_owner("ada")] == ids[:1:-1]
    assert len(list((tmp_path / "evaluations").iterdir())) == 3
    clock.now += 3 * SECONDS_OF_A_DAY
    newest = records.create(UPLOADED, "bob").id
    assert [folder.name for folder in (tmp_path / "evaluations").iterdir()] == [newest]
    assert records.list_for_owner("ada") == []


def test_deletion_stops_a_runner(tmp_path):
    service = ServiceSettings(models=(ModelSettings(name="small", checkpoint="-"),), state_dir=str(tmp_path))
    evaluator, records = EvaluatorReplica(service, {}, heartbeat_seconds=0.01), EvaluationStore(str(tmp_path))

    async def delete_while_it_runs() -> None:
        begun = asyncio.Event()

        async def outcome(attempt: object) -> dict:
            begun.set()
            await asyncio.Event().wait()
            return {}

        evaluator._outcome = outcome  # type: ignore[method-assign]
        id = records.create(EvaluationJob("small", n=4), "ada").id
        run = asyncio.create_task(evaluator.run(id))
        await begun.wait()
        records.delete(id, "ada")
        await asyncio.wait_for(run, 30)

    asyncio.run(delete_while_it_runs())
    assert not files(tmp_path)


def test_the_route_deletes_and_then_knows_nothing_of_it(served):
    id = served.post("/v1/evaluations", {"generate": {"n": 2}}).json()["id"]
    answer = served.ask("DELETE", f"/v1/evaluations/{id}")
    assert (answer.status_code, answer.json()) == (200, {"id": id, "object": "evaluation.deleted", "deleted": True})
    assert served.get(f"/v1/evaluations/{id}").status_code == 404
    assert served.ask("DELETE", f"/v1/evaluations/{id}").status_code == 404
