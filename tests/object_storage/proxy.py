"""A fault proxy: TCP between a client and an S3 server of one request for each connection.

client ──► FaultProxy ──► server
             │ for each request, ``plan(request)`` says what goes wrong, or None
             └ ``requests`` and ``faults`` say afterwards what passed and what went wrong
"""

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import unquote

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """What a plan decides by; ``number`` counts from 1."""

    number: int
    method: str
    path: str


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    drop: a reset before the server hears of it. swallow: the server does it, its answer is lost. cut: a reset after
    ``after_bytes`` of the answer. error: ``status`` and ``code`` instead of the server's answer.
    """

    kind: Literal["drop", "swallow", "cut", "error"]
    after_bytes: int = 0
    status: int = 0
    code: str = ""


SLOW_DOWN = Fault("error", status=503, code="SlowDown")
Plan = Callable[[Request], Fault | None]


class FaultProxy:
    """Listens on a port of its own for the time of a ``with`` block."""

    def __init__(self, upstream_port: int, plan: Plan = lambda request: None) -> None:
        self.plan, self._upstream_port = plan, upstream_port
        self.requests: list[Request] = []
        self.faults: list[tuple[Request, Fault]] = []
        self.bytes_answered = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        """From now on nobody listens."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if not (question := _read_request(client)):
                return
            fault = self._note(question)
            if fault and fault.kind == "error":
                client.sendall(_error(fault))
                return
            answer = b"" if fault and fault.kind == "drop" else self._ask(question)
            self.bytes_answered += len(answer)
            client.sendall(answer[: fault.after_bytes] if fault else answer)
            if fault:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    def _note(self, question: bytes) -> Fault | None:
        method, target, _ = question.split(b"\r\n", 1)[0].decode().split(" ", 2)
        with self._lock:
            request = Request(len(self.requests) + 1, method, unquote(target))
            self.requests.append(request)
            fault = self.plan(request)
            if fault:
                self.faults.append((request, fault))
        return fault

    def _ask(self, question: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._upstream_port), timeout=60) as server:
            server.sendall(question.replace(b"100-continue", b"nothing", 1))
            return b"".join(iter(lambda: server.recv(65536), b""))


def _read_request(client: socket.socket) -> bytes:
    """Head and body; empty when the client has left."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := client.recv(65536)):
            return b""
        data += more
    head = data.split(b"\r\n\r\n", 1)[0]
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    missing = len(head) + 4 + (int(length[1]) if length else 0) - len(data)
    if missing > 0 and b"100-continue" in head.lower():
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while missing > 0:
        if not (more := client.recv(min(missing, 65536))):
            return b""
        data, missing = data + more, missing - len(more)
    return data


def _error(fault: Fault) -> bytes:
    body = f"<Error><Code>{fault.code}</Code><Message>{fault.code}, says the proxy</Message></Error>"
    head = f"HTTP/1.0 {fault.status} {fault.code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n{body}".encode()
