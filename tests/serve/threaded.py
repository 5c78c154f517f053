"""A service in a thread of this process, for whoever needs a port."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from serve.api.application import create_app
from serve.backend import Backend
from tests.serve.in_process import service

__all__ = ["running"]

SECONDS = 60
"""For the thread to end."""


@contextmanager
def running(backend: Backend, **settings: object) -> Iterator[str]:
    """Its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # whoever comes before the server is up waits
        server = uvicorn.Server(uvicorn.Config(create_app(backend, service(**settings)), log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive()
