"""Bodies that are too large or too slow, and clients that leave: over real sockets, and message by message."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn

from tests.serve.in_process import Served
from tests.serve.test_bad_requests import IMAGES, JSON, said
from vapray.service.api_keys import add_key

HEAD = "POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = json.dumps({"prompt": "NV", "num_inference_steps": 1}).encode()


@contextlib.asynccontextmanager
async def listening(served: Served) -> AsyncIterator[int]:
    """The port of a real server."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(served.app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve([place]))
        try:
            while not server.started:
                await asyncio.sleep(0.005)
            yield place.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def answer_to(port: int, *parts: bytes) -> tuple[bytes, bool]:
    """What is answered, and whether the connection is closed behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    closed = await reader.read() is not None
    writer.close()
    return head, closed


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.002)


def test_a_body_above_the_limit_is_refused_before_it_is_read(backend):
    with Served(backend, limits={"body_mib": 0.001}) as served:
        assert said(served.ask("POST", IMAGES, content=b" " * 1050, headers=JSON), 413)["code"] == "body_too_large"
        assert served.ask("POST", IMAGES, content=BODY + b" " * (1048 - len(BODY)), headers=JSON).status_code == 200

        async def declared():
            async with listening(served) as port:
                return await answer_to(port, f"{HEAD}Content-Length: 99999999\r\n\r\n".encode())

        head, closed = served.runner.run(declared())
        assert head.startswith(b"HTTP/1.1 413 ") and b"connection: close" in head and closed


def test_a_body_without_a_length_is_counted_while_it_arrives(backend):
    taken = 0

    async def endless():
        nonlocal taken
        while True:
            taken += 512
            yield b" " * 512

    with Served(backend, limits={"body_mib": 0.01}) as served:
        assert said(served.ask("POST", IMAGES, content=endless(), headers=JSON), 413)
    assert 10_485 < taken < 12_000


def test_a_slow_sender_is_closed_and_others_are_served(backend):
    with Served(backend, limits={"body_timeout_s": 2}) as served:

        async def both():
            async with listening(served) as port:
                slow = asyncio.create_task(answer_to(port, f"{HEAD}Content-Length: 100\r\n\r\n".encode(), b'{"pro'))
                length = f"{HEAD}Content-Length: {len(BODY)}\r\nConnection: close\r\n\r\n".encode()
                quick = await answer_to(port, length + BODY)
                return quick, slow.done(), await slow

        (quick, _), slow_was_waiting, (slow, closed) = served.runner.run(both())
    assert quick.startswith(b"HTTP/1.1 200 ") and not slow_was_waiting
    assert slow.startswith(b"HTTP/1.1 408 ") and b"connection: close" in slow and closed


def test_nobody_without_a_key_makes_the_service_read_a_body(backend, tmp_path):
    add_key(str(tmp_path / "keys.yaml"), "ward", ["images"])

    async def read():
        raise AssertionError("read")
        yield b""

    with Served(backend, api_keys_file=str(tmp_path / "keys.yaml")) as served:
        assert said(served.ask("POST", IMAGES, content=read(), headers=JSON), 401)


@pytest.mark.parametrize("extra", [{}, {"stream": True, "partial_images": 2}])
def test_a_client_that_leaves_ends_the_work_for_it_and_no_other(served, backend, extra, caplog):
    caplog.set_level("INFO", logger="vapray.audit")
    backend.gate.clear()
    body = json.dumps({"prompt": "NV", "n": 3, "num_inference_steps": 1, **extra}).encode()

    async def leave():
        async with listening(served) as port, served.client() as stays:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await until(lambda: len(backend.jobs) == 3)
            other = asyncio.create_task(stays.post(IMAGES, content=BODY, headers=JSON))
            await until(lambda: len(backend.jobs) == 4)
            writer.transport.abort()
            await until(lambda: backend.cancelled == 3)
            backend.gate.set()
            return await other

    assert served.runner.run(leave()).status_code == 200
    assert (len(backend.jobs), backend.cancelled) == (4, 3)
    assert [json.loads(record.getMessage())["status"] for record in caplog.records] == [499, 200]


def test_a_client_that_leaves_a_stream_half_way_ends_it(served, backend):
    make, shown = backend.image, asyncio.Event()

    async def image(job):
        if len(backend.jobs) == 1:
            backend.gate.clear()
        return await make(job)

    backend.image = image
    body = json.dumps({"prompt": "NV", "num_inference_steps": 2, "stream": True, "partial_images": 1}).encode()

    async def leave():
        async with listening(served) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await reader.readuntil(b"partial_image")
            shown.set()
            await until(lambda: len(backend.jobs) == 2)
            writer.transport.abort()
            await until(lambda: backend.cancelled == 1)

    served.runner.run(leave())
    assert shown.is_set() and backend.cancelled == 1


def test_a_server_that_cancels_the_request_cancels_the_work(served, backend):
    backend.gate.clear()

    async def cancel():
        async with served.client() as client:
            asked = asyncio.create_task(client.post(IMAGES, content=BODY, headers=JSON))
            await until(lambda: len(backend.jobs) == 1)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked

    served.runner.run(cancel())
    assert backend.cancelled == 1
