"""What an operation costs on S3, where every request is paid for and waited for."""

import io
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.object_storage.proxy import FaultProxy
from tests.store.test_version import rows
from vapray.store.run_store import Store


def methods(proxy: FaultProxy) -> list[str]:
    return [request.method for request in proxy.requests]


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        (lambda files: files.write("a/y", b"1"), ["PUT"]),
        (lambda files: files.create_exclusive("a/y", b"1"), ["PUT"]),
        (lambda files: files.create_exclusive("a/x", b"1"), ["PUT", "HEAD"]),
        (lambda files: files.read("a/x"), ["GET"]),
        (lambda files: files.read("a/gone"), ["GET"]),
        (lambda files: files.names("a"), ["GET"]),
        (lambda files: files.names("gone"), ["GET", "GET"]),
    ],
    ids=["write", "create", "create-in-vain", "read", "read-nothing", "list", "list-nothing"],
)
def test_an_operation_is_one_request_or_two(files, proxy, operation, wanted):
    files.write("a/x", b"1")
    proxy.requests.clear()
    operation(files)
    assert methods(proxy) == wanted


def test_a_small_file_that_is_opened_is_fetched_once(files, proxy):
    files.write("x", b"0123456789")
    proxy.requests.clear()
    with files.open("x") as file:
        file.seek(4)
        assert [file.read(2), file.read()] == [b"45", b"6789"]
    assert methods(proxy) == ["HEAD", "GET"]


def test_one_column_of_a_large_table_is_not_the_whole_table(files, proxy):
    columns = {"key": pa.array(range(1000))} | {f"blob{n}": pa.array([os.urandom(5000)] * 1000) for n in range(3)}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, use_dictionary=False, compression="none")
    files.write("x", buffer.getvalue())
    proxy.requests.clear()
    with files.open("x") as file:
        assert pq.read_table(file, columns=["key"]).column(0).to_pylist() == list(range(1000))
    assert methods(proxy)[0] == "HEAD"
    assert len(proxy.requests) <= 5
    assert proxy.bytes_answered < len(buffer.getvalue()) / 10


def test_a_source_that_is_never_sealed_is_asked_for_its_manifest_once(root, proxy):
    part = Store(root).version("images", "v").write_part(rows("a", "b"))
    source = Store(root).version("images", "v")
    proxy.requests.clear()
    for _ in range(3):
        assert source.read_part(part.name, ["image_id"]).num_rows == 2
    asked = [request for request in proxy.requests if "manifest.json" in request.path]
    assert len(asked) == 1
