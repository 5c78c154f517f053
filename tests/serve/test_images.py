"""What a request for images becomes."""

import asyncio
import base64
import time

import pytest

from serve.errors import ApiError, overloaded
from tests.serve.in_process import NAME


def jobs_of(served, backend, **body) -> list:
    before = len(backend.jobs)
    answer = served.images(**body)
    assert answer.status_code == 200, answer.text
    return backend.jobs[before:]


def test_images_have_consecutive_seeds_and_are_asked_for_side_by_side(served, backend):
    backend.gate.clear()

    async def ask():
        async with served.client() as client:
            asked = {"prompt": "a red lesion", "label": "NV", "n": 4, "seed": 7, "num_inference_steps": 1}
            answer = asyncio.create_task(client.post("/v1/images/generations", json=asked))
            while len(backend.jobs) < 4:
                await asyncio.sleep(0.001)
            backend.gate.set()
            return await answer

    answer = served.runner.run(ask())
    assert [one["seed"] for one in answer.json()["data"]] == [7, 8, 9, 10]
    assert [job.seed for job in backend.jobs] == [7, 8, 9, 10]


def test_the_highest_seeds_are_served(served):
    answer = served.images(prompt="NV", seed=2**63 - 1010, n=10, num_inference_steps=1)
    assert [one["seed"] for one in answer.json()["data"]][-1] == 2**63 - 1001


def test_the_name_of_a_class_draws_a_caption_of_its_bank(served, backend, sampler):
    ways = ({"prompt": "nv"}, {"prompt": "NV", "label": 1}, {"bank": "draw", "label": "nv"})
    found = [jobs_of(served, backend, seed=3, **way)[0] for way in ways]
    assert {(job.label, job.caption, job.bank_id) for job in found} == {(1, None, None)}
    answer = served.images(prompt="NV", seed=3).json()["data"][0]
    drawn = served.get("/v1/bank/NV/draw?seed=3").json()
    assert (answer["bank_id"], answer["revised_prompt"], answer["class"]) == (drawn["id"], drawn["caption"], "NV")


def test_an_entry_of_the_bank_is_named_instead_of_a_prompt(served, backend):
    entry = served.get("/v1/bank/NV?limit=2").json()["data"][1]
    answer = served.images(bank=entry["id"], label="NV").json()["data"][0]
    assert (answer["bank_id"], answer["revised_prompt"]) == (entry["id"], entry["caption"])


def test_a_caption_without_a_class_leaves_the_class_to_the_backend(served, backend):
    (job,) = jobs_of(served, backend, prompt="a red lesion")
    assert (job.label, job.caption) == (None, "a red lesion")


def test_what_a_request_says_comes_before_what_the_model_does(served, backend):
    (plain,) = jobs_of(served, backend, prompt="NV")
    assert plain.settings.num_inference_steps == 2 and plain.settings.prototypes == "on" and plain.previews == 0
    said = {"guidance_scale": 0, "solver": "ddim", "prototypes": "bypassed", "deadline_seconds": 60}
    before = time.time()
    (job,) = jobs_of(served, backend, prompt="NV", **said)
    assert (job.settings.guidance_scale, job.settings.solver, job.settings.prototypes) == (0, "ddim", "bypassed")
    assert job.settings.guidance_convention == plain.settings.guidance_convention
    assert before + 60 <= job.deadline <= time.time() + 60
    assert plain.deadline > before + 200 and job.request_id and job.model == NAME


def test_the_prototype_condition_can_be_bypassed(served):
    on, off = (served.images(prompt="NV", seed=3, prototypes=kind).json()["data"][0] for kind in ("on", "bypassed"))
    assert on["b64_json"] != off["b64_json"] and on["revised_prompt"] == off["revised_prompt"]


def test_a_retry_under_the_same_idempotency_key_gives_the_same_image(served, backend):
    def once(key: str | None, **body) -> str:
        headers = {} if key is None else {"idempotency-key": key}
        asked = {"prompt": "NV", "num_inference_steps": 1, **body}
        return served.post("/v1/images/generations", asked, headers=headers).json()["data"][0]["b64_json"]

    assert once("a") == once("a")
    assert len({once("a"), once("b"), once(None), once(None)}) == 4
    assert once("a", seed=1) == once("b", seed=1) == once(None, seed=1)


def test_one_image_that_fails_ends_the_others(served, backend):
    waiting = []

    async def image(job):
        if job.seed == 2:
            while len(waiting) < 2:
                await asyncio.sleep(0.001)
            raise overloaded(2.2)
        waiting.append(job.seed)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            backend.cancelled += 1
            raise

    backend.image = image
    answer = served.images(prompt="NV", n=3, seed=1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
    assert answer.headers["retry-after"] == "3" and backend.cancelled == 2


def events(text: str) -> list[str]:
    return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]


def test_a_stream_that_fails_before_its_first_event_is_an_error_of_its_own(served, backend):
    async def image(job):
        raise overloaded(1)

    backend.image = image
    answer = served.images(prompt="NV", stream=True, n=2)
    assert answer.status_code == 429 and answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("failure", "code"),
    [(ApiError(503, "Gone.", "unavailable"), "unavailable"), (RuntimeError("a secret"), "internal_error")],
)
def test_a_stream_that_fails_on_the_way_ends_with_an_error(served, backend, failure, code, caplog):
    make = backend.image

    async def image(job):
        if len(backend.jobs) == 1:
            raise failure
        return await make(job)

    backend.image = image
    answer = served.images(prompt="NV", stream=True, partial_images=1)
    assert events(answer.text) == ["image_generation.partial_image", "error"]
    assert answer.status_code == 200 and code in answer.text and "secret" not in answer.text
    assert ("RuntimeError" in caplog.text) is (code == "internal_error") and "secret" not in caplog.text


def test_a_stream_without_partial_images_is_the_finished_one(served):
    answer = served.images(prompt="NV", stream=True)
    assert events(answer.text) == ["image_generation.completed"]
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_bank_is_read_page_by_page(served, sampler):
    found, after = [], ""
    while True:
        page = served.get(f"/v1/bank/NV?limit=3{after}").json()
        found += [entry["caption"] for entry in page["data"]]
        assert page["total"] == len(sampler.bank.captions(1))
        if not page["has_more"]:
            break
        after = f"&after={page['data'][-1]['id']}"
    assert tuple(found) == sampler.bank.captions(1)
    assert served.get("/v1/bank/1?limit=3").json() == served.get("/v1/bank/nv?limit=3").json()


def test_a_caption_of_the_bank_lies_nowhere_far(served, sampler):
    own = served.post("/v1/bank/NV/distance", {"caption": sampler.bank.captions(1)[0]}).json()
    far = served.post("/v1/bank/NV/distance", {"caption": "two ships on a quiet sea"}).json()
    assert own["distance"] < 1e-3 < far["distance"] and own["nearest"]["caption"] == sampler.bank.captions(1)[0]


def test_pictures_are_handed_on_as_they_came(served):
    picture = base64.b64encode(b"not looked at here").decode()
    near = served.post("/v1/neighbours", {"image": picture, "k": 2}).json()["data"]
    assert [one["b64_json"] for one in near] == [picture] * 2
    assert served.post("/v1/captions", {"image": picture}).json() == {
        "caption": "a picture",
        "captioner": "measured captions",
    }


def test_the_same_idempotency_key_gives_the_same_evaluation(served):
    def submit(key: str, n: int):
        return served.post("/v1/evaluations", {"generate": {"n": n}}, headers={"idempotency-key": key})

    first, again, other = submit("a", 2), submit("a", 2), submit("b", 2)
    assert first.json() == again.json() and first.json()["id"] != other.json()["id"]
    conflict = submit("a", 3)
    assert (conflict.status_code, conflict.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_readiness_is_whether_every_model_has_made_an_image(served):
    before = served.get("/readyz")
    assert (before.status_code, before.json()) == (503, {"status": "not ready", "models": {NAME: False}})
    served.images(prompt="NV")
    after = served.get("/readyz")
    assert (after.status_code, after.json()) == (200, {"status": "ready", "models": {NAME: True}})
    assert served.get("/healthz").json() == {"status": "ok"}
    assert served.get("/metrics").text == "vapray_images_total 1\n"
