"""A key with many images leaves room for the others."""

import asyncio
import json

import httpx
import pytest

from tests.serve.in_process import Served
from tests.serve.test_bad_requests import IMAGES, JSON
from tests.serve.test_uploads import until
from vapray.service.api_keys import add_key

LIMITS = {"images_in_progress": 2, "images_waiting": 3}


@pytest.fixture
def keys(tmp_path) -> dict[str, str]:
    return {name: add_key(str(tmp_path / "keys.yaml"), name, ["images"]) for name in ("heavy", "light")}


@pytest.fixture
def served(backend, keys, tmp_path):
    with Served(backend, keys["heavy"], api_keys_file=str(tmp_path / "keys.yaml"), limits=LIMITS) as made:
        yield made


def asked(client: httpx.AsyncClient, n: int = 1, key: str | None = None, **more: object) -> "asyncio.Task":
    headers = JSON | ({"authorization": f"Bearer {key}"} if key else {})
    body = json.dumps({"prompt": "NV", "num_inference_steps": 1, "n": n, **more})
    return asyncio.create_task(client.post(IMAGES, content=body, headers=headers))


def test_further_images_of_a_key_wait_and_those_of_another_do_not(served, backend, keys):
    backend.gate.clear()

    async def both():
        async with served.client() as client:
            heavy = [asked(client, 2), asked(client, 2)]
            await until(lambda: len(backend.jobs) == 2)
            light = asked(client, key=keys["light"])
            await until(lambda: len(backend.jobs) == 3)
            assert [job.owner for job in backend.jobs] == ["heavy", "heavy", "light"]
            backend.gate.set()
            return await asyncio.gather(*heavy, light)

    assert [answer.status_code for answer in served.runner.run(both())] == [200] * 3
    assert len(backend.jobs) == 5


@pytest.mark.parametrize("stream", [False, True])
def test_more_than_may_wait_are_told_to_come_again(served, backend, stream):
    backend.gate.clear()

    async def too_many():
        async with served.client() as client:
            first = [asked(client, 1, stream=stream) for _ in range(5)]
            await until(lambda: len(backend.jobs) == 2)
            refused = await asked(client, 1, stream=stream)
            backend.gate.set()
            return refused, await asyncio.gather(*first)

    refused, first = served.runner.run(too_many())
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert [answer.status_code for answer in first] == [200] * 5


def test_an_image_that_waits_beyond_its_deadline_ends(served, backend):
    backend.gate.clear()

    async def wait():
        async with served.client() as client:
            first = asked(client, 2)
            await until(lambda: len(backend.jobs) == 2)
            late = await asked(client, 1, deadline_seconds=0.1)
            backend.gate.set()
            return late, await first

    late, first = served.runner.run(wait())
    assert (late.status_code, late.json()["error"]["code"], first.status_code) == (504, "deadline_exceeded", 200)
    assert len(backend.jobs) == 2 and not served.app.state.windows._windows


def test_a_client_that_leaves_gives_its_places_back(served, backend):
    backend.gate.clear()

    async def leave_and_come():
        async with served.client() as client:
            leaving = [asked(client), asked(client), asked(client)]
            await until(lambda: len(backend.jobs) == 2)
            for one in leaving:
                one.cancel()
            await until(lambda: backend.cancelled == 2)
            await asyncio.gather(*leaving, return_exceptions=True)
            assert not served.app.state.windows._windows
            backend.gate.set()
            return await asked(client, 2)

    assert served.runner.run(leave_and_come()).status_code == 200
