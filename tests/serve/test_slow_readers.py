"""The proxy's middleware in uvicorn, with sockets: who reads nothing, who reads too little, and who only waits."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from serve.slow_readers import SlowReaderMiddleware, proxy_middlewares

LARGE = 64 * 2**20
SECONDS = 0.5
REQUEST = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def application(scope, receive, send):
    """A large body in one piece, or a slow stream of small ones."""
    pieces = [bytes(LARGE)] if scope["path"] == "/large" else [b"x" * 100] * 6
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0 if scope["path"] == "/large" else SECONDS)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture(scope="module")
def middleware() -> SlowReaderMiddleware:
    return SlowReaderMiddleware(application, SECONDS)


@pytest.fixture(scope="module")
def port(middleware: SlowReaderMiddleware) -> Iterator[int]:
    """A server with Serve's settings."""
    config = uvicorn.Config(middleware, port=0, lifespan="off", log_config=None, timeout_keep_alive=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(20)


def asked(port: int, path: bytes) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    client.sendall(REQUEST % path)
    return client


def read_all(client: socket.socket) -> int:
    """Bytes until the response or the connection ends."""
    found = 0
    while data := client.recv(2**20):
        found += len(data)
        if data.endswith(b"0\r\n\r\n"):
            break
    return found


@pytest.mark.parametrize("bytes_at_once", [0, 20])
def test_a_client_that_does_not_read_is_closed(port, bytes_at_once):
    """Afterwards it finds what lay in the buffers of the sockets, and the end of the connection."""
    with asked(port, b"large") as client:
        for _ in range(40):
            client.recv(bytes_at_once)
            time.sleep(SECONDS / 8)
        assert read_all(client) < LARGE / 2


def test_a_client_that_reads_gets_everything(port):
    with asked(port, b"large") as client:
        assert read_all(client) > LARGE


def test_a_slow_stream_is_no_slow_reader(port):
    """Its client has read everything, longer than the rate is measured."""
    with asked(port, b"stream") as client:
        began = time.monotonic()
        assert read_all(client) > 600
        assert time.monotonic() - began > 4 * SECONDS


def test_a_connection_is_forgotten_when_everything_was_read(port, middleware):
    with asked(port, b"large") as client:
        read_all(client)
        deadline = time.monotonic() + 5
        while middleware._connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not middleware._connections


def test_other_servers_and_protocols_pass():
    calls = []

    async def app(scope, receive, send):
        calls.append(scope["type"])

    async def both() -> None:
        for kind in ("http", "lifespan"):
            await SlowReaderMiddleware(app)({"type": kind}, None, lambda message: None)

    asyncio.run(both())
    assert calls == ["http", "lifespan"]


def test_the_proxy_gets_the_middleware():
    (found,) = proxy_middlewares()
    assert found.cls is SlowReaderMiddleware
