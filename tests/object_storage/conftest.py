"""A running S3 server for the time of the tests, and what talks to it through a fault proxy."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from s3fs import S3FileSystem

from tests.conftest import ROOT
from tests.object_storage.proxy import FaultProxy
from vapray.store.files import FileStore

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BUCKET = "tests"
FOLDERS = itertools.count()


@contextmanager
def s3_server(host: str) -> Iterator[int]:
    """The port of an S3 server with one bucket, for the time of a ``with`` block."""
    command = [sys.executable, "-m", "tests.object_storage.server", BUCKET, host]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@pytest.fixture(scope="session")
def server_port() -> Iterator[int]:
    with s3_server("127.0.0.1") as port:
        yield port


@pytest.fixture(scope="session")
def proxy_of_the_session(server_port) -> Iterator[FaultProxy]:
    with FaultProxy(server_port) as proxy:
        yield proxy


@pytest.fixture
def proxy(proxy_of_the_session, monkeypatch) -> Iterator[FaultProxy]:
    """Faultless and with empty lists; the environment points at it."""
    proxy = proxy_of_the_session
    for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": proxy.url}).items():
        monkeypatch.setenv(name, value)
    yield proxy
    proxy.plan = lambda request: None
    proxy.requests.clear()
    proxy.faults.clear()
    proxy.bytes_answered = 0


@pytest.fixture
def root(proxy) -> str:
    """A folder of its own for every test."""
    return f"s3://{BUCKET}/{os.getpid()}-{next(FOLDERS)}"


@pytest.fixture
def files(root) -> FileStore:
    return FileStore(root)


@pytest.fixture
def new_clients(proxy) -> Iterator[None]:
    """Clients are shared within a process and keep what the environment said first: here it says something else."""
    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["local", "memory", "s3"])
def open_store(request, tmp_path) -> Callable[[], FileStore]:
    """Opens the same folder again and again."""
    if request.param == "s3":
        root = request.getfixturevalue("root")
    else:
        root = str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}"
    return lambda: FileStore(root)
