"""What stays wrong ends soon, and says which object, what was tried, and what to do."""

import pickle
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.object_storage.proxy import Fault, FaultProxy
from vapray.errors import BackendError, ConfigError, VaprayError
from vapray.store.files import FileStore
from vapray.store.object_errors import error_code

OPERATIONS = {
    "read": lambda files: files.read("a/x"),
    "write": lambda files: files.write("a/x", b"1"),
    "create": lambda files: files.create_exclusive("a/x", b"1"),
    "list": lambda files: files.names("a"),
}
each_operation = pytest.mark.parametrize("operation", OPERATIONS)


@each_operation
def test_a_missing_bucket_is_named(proxy, operation):
    expected = rf"s3://gone/run/a(/x)?: could not {operation} \(.*does not exist\)\. Fix: create the bucket, or choose"
    with pytest.raises(ConfigError, match=expected):
        OPERATIONS[operation](FileStore("s3://gone/run"))


@each_operation
@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AccessDenied", "grant these credentials s3:ListBucket on the bucket"),
        ("SignatureDoesNotMatch", "refuses these credentials"),
        ("ExpiredToken", "AWS_SESSION_TOKEN"),
    ],
)
def test_a_refusal_is_told_at_the_first_time(files, proxy, operation, code, advice):
    proxy.plan = lambda request: Fault("error", status=403, code=code)
    with pytest.raises(ConfigError, match=rf"could not {operation} \(.*{advice}"):
        OPERATIONS[operation](files)
    assert len(proxy.faults) == 1


@each_operation
def test_missing_credentials_are_told_before_any_request(root, proxy, new_clients, monkeypatch, operation, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"No credentials were found\. Fix: set AWS_ACCESS_KEY_ID"):
        OPERATIONS[operation](FileStore(root))
    assert not proxy.requests


def test_a_store_that_only_drops_is_told_after_a_bounded_number_of_attempts(files, proxy):
    proxy.plan = lambda request: Fault("drop")
    with pytest.raises(BackendError, match=r"could not create .*check AWS_ENDPOINT_URL"):
        files.create_exclusive("x", b"1")
    assert 5 <= len(proxy.faults) <= 10  # aiohttp repeats on its own what it had sent on a connection that broke


def test_nobody_listening_is_told(root, server_port, new_clients, monkeypatch):
    with FaultProxy(server_port) as gone:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gone.url)
    with pytest.raises(BackendError, match="Could not connect to the endpoint URL"):
        FileStore(root).read("x")
    assert not gone.requests


@pytest.mark.parametrize("nameless", ["s3://", "s3:///run"])
def test_a_root_without_a_bucket_is_refused(nameless):
    with pytest.raises(ConfigError, match=r"no bucket\. Fix: set run.root to s3://BUCKET/FOLDER"):
        FileStore(nameless)


def test_errors_travel_between_processes(proxy):
    with pytest.raises(VaprayError) as told:
        FileStore("s3://gone/run").read("x")
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)


def test_the_command_ends_without_a_traceback(proxy, tmp_path):
    command = [sys.executable, "-m", "jobs.pipeline", "run.root=s3://gone/run", f"data.root={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("ConfigError: s3://gone/run/")
    assert "Fix: create the bucket, or choose another run.root." in done.stderr
    assert "Traceback" not in done.stderr
    assert "[ray]" not in done.stdout


def test_an_error_of_another_library_is_told_by_its_name():
    """Azure's and those of ``requests`` keep the whole answer, an object, where botocore keeps a dict."""
    foreign = FileNotFoundError("gone")
    foreign.response = object()  # type: ignore[attr-defined]
    assert error_code(foreign) == "FileNotFoundError"
    foreign.__cause__ = OSError()
    foreign.__cause__.response = {"Error": {"Code": "NoSuchBucket"}}  # type: ignore[attr-defined]
    assert error_code(foreign) == "NoSuchBucket"
