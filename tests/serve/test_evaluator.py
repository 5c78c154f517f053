"""The evaluator: records in, outcomes out, whatever happens to runners on the way; nearest training pictures."""

import asyncio
import io
import json
import shutil
import threading
from pathlib import Path

import pytest
from PIL import Image
from ray.exceptions import RayTaskError

from serve.backend import Evaluation, EvaluationJob
from serve.deployments.evaluator import EvaluatorReplica, has_reference
from serve.errors import ApiError
from serve.evaluations.evaluation_store import EvaluationStore
from serve.settings import ModelSettings, ServiceSettings
from tests.serve.handles import Gated, Handle
from tests.serve.pictures import NOISE, bomb
from tests.serve.uploads import uploaded
from vapray.data.image_loading import read_bytes
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.sampler import Sampler
from vapray.store.run_store import Store

FAST = SamplingSettings(num_inference_steps=1, guidance_scale=0.0)


@pytest.fixture(scope="module")
def sampler(small_checkpoint: Path) -> Sampler:
    return Sampler.load(str(small_checkpoint))


@pytest.fixture
def service(small_checkpoint: Path, tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(
        models=(ModelSettings(name="small", checkpoint=str(small_checkpoint)),), state_dir=str(tmp_path / "state")
    )


@pytest.fixture
def records(service: ServiceSettings) -> EvaluationStore:
    return EvaluationStore(service.state_dir)


@pytest.fixture(scope="module")
def rows(small_run: Path) -> list[dict]:
    """Of the table ``images``."""
    store = Store(str(small_run))
    return store.version("images", store.latest("images").fingerprint).read().to_pylist()


def held_out(rows: list[dict]) -> tuple[bytes, ...]:
    return tuple(read_bytes(row["path"]) for row in rows if row["split"] == "test")


def evaluated(service: ServiceSettings, job: EvaluationJob, **handles: Handle) -> Evaluation:
    records = EvaluationStore(service.state_dir)
    id = records.create(job, "ada").id
    asyncio.run(EvaluatorReplica(service, handles).run(id))
    return records.get(id, "ada")


def test_uploaded_pictures_have_the_numbers_of_the_report(service, rows, small_run):
    ended = evaluated(service, EvaluationJob("small", uploaded(*held_out(rows))))
    report = json.loads((small_run / "report/metrics.json").read_bytes())
    assert ended.status == "succeeded", ended.error
    assert ended.results["fid"]["value"] == pytest.approx(report["fid_real_split"], rel=1e-6)
    assert ended.results["n_reference"] == report["n_real"] and ended.done == ended.n == 18
    assert not list(Path(service.state_dir).glob("evaluation_pictures/*"))


def test_noise_is_much_farther_than_held_out_pictures_whatever_its_size(service, rows):
    far = evaluated(service, EvaluationJob("small", uploaded(*NOISE)))
    near = evaluated(service, EvaluationJob("small", uploaded(*held_out(rows))))
    assert far.results["fid"]["value"] > 20 * near.results["fid"]["value"]


def test_a_generated_set_is_made_by_the_sampler_and_measured(service, sampler):
    handle = Handle(sampler)
    job = EvaluationJob("small", n=40, seed=3, settings=FAST)
    ended = evaluated(service, job, small=handle)
    assert ended.status == "succeeded", ended.error
    assert [one.seed for one in handle.jobs] == list(range(3, 43))
    # 63 training pictures: 13, 13, 13, 12, 12
    assert sorted(one.label for one in handle.jobs) == sorted([0] * 8 + [1] * 8 + [2] * 8 + [3] * 8 + [4] * 8)
    assert (ended.n, ended.done, ended.results["n"], ended.source) == (40, 40, 40, "generated")


def test_a_picture_that_cannot_be_decoded_fails_it_by_index_and_reason(service):
    for bad, reason in (
        (NOISE[0][:200], "damaged or cut short"),
        (b"<html>", "not an image"),
        (bomb(), "too many pixels"),
    ):
        ended = evaluated(service, EvaluationJob("small", uploaded(*NOISE[:2], bad)))
        assert ended.status == "failed"
        assert ended.error.startswith("images[2]: ") and reason in ended.error
    assert not list(Path(service.state_dir).glob("evaluation_pictures/*"))


def test_a_refusal_of_the_sampler_is_what_the_client_is_told_without_ray_s_traceback(service, sampler):
    refusal = RayTaskError("generate", "Traceback: line 7", ApiError(400, "class 9 is unknown", "unknown_class"))
    brought_by_ray = refusal.as_instanceof_cause()
    assert "Traceback" in str(brought_by_ray)

    def refuse(_):
        raise brought_by_ray

    handle = Handle(sampler, refuse)
    ended = evaluated(service, EvaluationJob("small", n=4, label=9, settings=FAST), small=handle)
    assert (ended.status, ended.error) == ("failed", "class 9 is unknown")
    assert len(handle.jobs) == 4


def test_a_fault_inside_tells_no_client_of_its_files(service, caplog):
    ended = evaluated(service, EvaluationJob("small", n=4))  # there is no sampler at all
    assert ended.status == "failed" and "see the service log" in ended.error
    assert "KeyError" in caplog.text


def test_two_runners_at_once_leave_the_outcome_of_the_first(service, records, sampler):
    id = records.create(EvaluationJob("small", n=6, settings=FAST), "ada").id
    second_works, first_ended = threading.Event(), threading.Event()
    handles = [Gated(sampler, second_works), Gated(sampler, first_ended, second_works.set)]

    async def run_both() -> bytes:
        first, second = (EvaluatorReplica(service, {"small": handle}) for handle in handles)
        second._store = EvaluationStore(service.state_dir, lambda: 9e9)  # to whom the first one is silent
        first_run = asyncio.create_task(first.run(id))
        while records.get(id, "ada").status == "queued":
            await asyncio.sleep(0.01)
        second_run = asyncio.create_task(second.run(id))
        await first_run
        (outcome,) = Path(service.state_dir).glob("evaluations/*/outcome.json")
        standing = outcome.read_bytes()
        first_ended.set()
        await second_run
        assert outcome.read_bytes() == standing
        return standing

    assert b'"fid"' in asyncio.run(run_both())
    assert [len(handle.jobs) for handle in handles] == [6, 6]
    assert records.get(id, "ada").status == "succeeded"


def test_a_runner_that_is_killed_leaves_a_record_for_the_next(service, records, sampler):
    id = records.create(EvaluationJob("small", n=6, settings=FAST), "ada").id
    begun = asyncio.Event()

    async def killed() -> None:
        run = asyncio.create_task(EvaluatorReplica(service, {"small": Handle(sampler, lambda _: begun.set())}).run(id))
        await begun.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(killed())
    assert records.get(id, "ada").status == "running"
    later = EvaluationStore(service.state_dir, lambda: 9e9)
    assert later.dispatch(id)
    asyncio.run(EvaluatorReplica(service, {"small": Handle(sampler)}).run(id))
    assert records.get(id, "ada").status == "succeeded"


def test_signs_of_life_go_on_while_it_waits_and_works(service, records, sampler):
    id = records.create(EvaluationJob("small", n=2, settings=FAST), "ada").id
    released = threading.Event()
    beats: list[int] = []

    class Counted(EvaluationStore):
        def heartbeat(self, id, runner, done):
            super().heartbeat(id, runner, done)
            beats.append(done)
            if len(beats) == 3:
                released.set()

    evaluator = EvaluatorReplica(service, {"small": Gated(sampler, released)}, heartbeat_seconds=0.01)
    evaluator._store = Counted(service.state_dir)
    asyncio.run(evaluator.run(id))
    assert len(beats) >= 3
    assert records.get(id, "ada").status == "succeeded"


def test_a_model_without_its_run_has_no_reference(small_checkpoint, small_run, rows, tmp_path):
    alone = str(shutil.copytree(small_checkpoint, tmp_path / "alone"))
    without, named = (
        ModelSettings(name="small", checkpoint=alone),
        ModelSettings(name="small", checkpoint=alone, run=str(small_run)),
    )
    assert has_reference(named) and not has_reference(without)
    service = ServiceSettings(models=(without,), state_dir=str(tmp_path / "state"))
    ended = evaluated(service, EvaluationJob("small", uploaded(*NOISE)))
    assert ended.status == "failed" and "No real images" in ended.error
    with pytest.raises(ApiError) as refused:
        asyncio.run(EvaluatorReplica(service, {}).neighbours("small", NOISE[0], 3))
    assert (refused.value.status, refused.value.code) == (404, "no_reference")
    service = ServiceSettings(models=(named,), state_dir=str(tmp_path / "state"))
    assert evaluated(service, EvaluationJob("small", uploaded(*held_out(rows)))).status == "succeeded"


def test_neighbours_of_a_training_picture_begin_with_itself(service, rows):
    evaluator = EvaluatorReplica(service, {})
    row = next(row for row in rows if row["split"] == "train")
    found = asyncio.run(evaluator.neighbours("small", read_bytes(row["path"]), 3))
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    assert found[0].distance < 1e-5 and found[0].class_name == row["class"] and len(found) == 3
    assert Image.open(io.BytesIO(found[0].png)).size == (32, 32)


def test_neighbours_of_what_is_no_picture_are_refused(service):
    for model, image, status, code in (("small", b"no", 400, "invalid_image"), ("big", NOISE[0], 404, "unknown_model")):
        with pytest.raises(ApiError) as refused:
            asyncio.run(EvaluatorReplica(service, {}).neighbours(model, image, 3))
        assert (refused.value.status, refused.value.code) == (status, code)


def test_neighbours_whose_files_are_gone_are_not_shown(service, caplog):
    async def look_twice() -> None:
        evaluator = EvaluatorReplica(service, {})
        await evaluator.neighbours("small", NOISE[0], 1)
        known = (await evaluator._reference("small")).neighbours
        known._paths = {name: f"{path}.gone" for name, path in known._paths.items()}
        await evaluator.neighbours("small", NOISE[0], 1)

    with pytest.raises(ApiError) as refused:
        asyncio.run(look_twice())
    assert (refused.value.status, refused.value.code) == (404, "no_reference")
    assert "gone" not in refused.value.message and "cannot be read" in caplog.text
