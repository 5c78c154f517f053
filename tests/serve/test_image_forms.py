"""Images as multipart/form-data: written to disk while they arrive, or refused with the part's number."""

import asyncio
import tempfile
import time

import httpx
import psutil
import pytest

from serve.uploaded_images import GROUP_BYTES, ImageWriter, read_images
from tests.serve.in_process import Served
from tests.serve.test_bad_requests import EVALUATIONS, said
from tests.serve.test_uploads import answer_to, listening
from tests.serve.uploads import form, uploaded
from vapray.service.api_keys import add_key

PATH = f"{EVALUATIONS}/images"
FORM = {"content-type": "multipart/form-data; boundary=b"}
MIB = 2**20


def send(served: Served, *images: bytes, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
    return served.ask("POST", PATH, headers=headers or {}, **form(*images, **fields))


def body(*parts: tuple[str, bytes]) -> dict:
    """A hand-made form."""
    written = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + data for name, data in parts]
    return {
        "content": b"\r\n".join([*written, b"--b--\r\n"]),
        "headers": {"content-type": "multipart/form-data; boundary=b"},
    }


def test_a_set_of_images_becomes_an_evaluation(served, backend):
    answer = send(served, b"one", b"two\r\n--x", b"three", model="small")
    assert answer.status_code == 202, answer.text
    assert (answer.json()["n"], answer.json()["source"], answer.json()["model"]) == (3, "uploaded", "small")
    assert answer.headers["location"] == f"{EVALUATIONS}/{answer.json()['id']}"
    job = next(iter(backend._evaluations.values()))[2]
    assert job.images == uploaded(b"one", b"two\r\n--x", b"three")


def test_images_keep_their_order_and_bytes_over_many_groups(tmp_path):
    images = [bytes([at % 256]) * (MIB + at) for at in range(2 * GROUP_BYTES // MIB + 3)] + [b"x"] * 1500
    with ImageWriter(tmp_path / "images") as writer:
        for image in images:
            writer.add(image)
            if writer.is_full:
                writer.flush()
        made = writer.finish()
    assert made.count == len(images) and made == uploaded(*images)
    assert [*read_images(made.path.open("rb"))] == images
    assert uploaded(*images[::-1]).sha256 != made.sha256


@pytest.mark.parametrize(
    ("request_", "status", "param", "words"),
    [
        (form(b"one"), 400, "images", "1 image, at least 2"),
        (body(("model", b"small")), 400, "images", "0 images, at least 2"),
        (form(b"one", b"two", b""), 400, "images.2", "empty file"),
        (form(b"one", b"x" * 1050), 400, "images.1", "larger than 0.001 MiB"),
        (form(b"1", b"2", b"3", b"4", b"5"), 400, "images", "more than 4 images"),
        (form(b"1", b"2", model="none"), 404, "model", "Unknown model"),
        (form(b"1", b"2", modl="small"), 400, "modl", "Known: images, model"),
        (form(b"1", b"2", model="x" * 2000), 400, "model", "larger than 1024 bytes"),
        (body(("images", b"1"), ("images", b"2"), ("model", b"small"), ("model", b"small")), 400, "model", "twice"),
        ({"content": b"{}", "headers": {"content-type": "application/json"}}, 415, None, "multipart/form-data"),
        ({"content": b"{}", "headers": {"content-type": "multipart/form-data"}}, 415, None, "boundary"),
        ({**body(("images", b"1")), "content": b"hello"}, 400, None, "not multipart/form-data"),
        ({**body(), "content": b"--b\r\nContent-Disposition: form-data; name=images\r\n\r\n1"}, 400, None, "cut short"),
    ],
)
def test_a_form_says_what_is_wrong(backend, request_, status, param, words):
    with Served(backend, limits={"body_mib": 0.001, "evaluation_images": 4}) as served:
        error = said(served.ask("POST", PATH, **request_), status)
    assert error["param"] == param and words in error["message"]


def test_a_form_of_a_foreign_page_is_refused(served):
    assert said(send(served, b"1", b"2", headers={"origin": "https://evil.example"}), 403)["code"] == "foreign_origin"
    assert said(send(served, b"1", b"2", headers={"origin": "null"}), 403)["code"] == "foreign_origin"
    assert send(served, b"1", b"2", headers={"origin": "http://localhost"}).status_code == 202


def test_with_a_key_any_page_may_send_a_form(backend, tmp_path):
    """No browser adds the key by itself; behind a proxy the origin is another one than the host."""
    key = add_key(str(tmp_path / "keys.yaml"), "ward", ["evaluations"])
    with Served(backend, key, api_keys_file=str(tmp_path / "keys.yaml")) as served:
        assert send(served, b"1", b"2", headers={"origin": "https://images.example.org"}).status_code == 202


def test_other_routes_take_no_forms(served):
    for path in (EVALUATIONS, "/v1/images/generations"):
        assert said(served.ask("POST", path, **form(b"1", b"2")), 415)["code"] == "unsupported_media_type"


def test_a_form_above_the_limit_ends_while_it_arrives(backend):
    sent = 0

    async def endless():
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="images"\r\n\r\n'
        while True:
            sent += 512
            yield b" " * 512

    with Served(backend, limits={"upload_mib": 0.01}) as served:
        assert said(served.ask("POST", PATH, content=endless(), headers=FORM), 413)["code"] == "body_too_large"
        declared = {**FORM, "content-length": "99999999"}
        assert said(served.ask("POST", PATH, content=b"", headers=declared), 413)["code"] == "body_too_large"
    assert sent < 20_000


def test_a_form_may_take_longer_than_the_timeout_but_not_stand_still(backend):
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    parts = body(("images", b"one"), ("images", b"two"))["content"]
    head = f"{head}Content-Length: {len(parts)}\r\nConnection: close\r\n\r\n"

    async def slowly(port: int) -> tuple[bytes, bool]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        began = time.monotonic()
        for at in range(0, len(parts), 10):
            writer.write(parts[at : at + 10])
            await writer.drain()
            await asyncio.sleep(0.2)
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return answer, time.monotonic() - began > 1.5

    with Served(backend, limits={"body_timeout_s": 1.5}) as served:

        async def both():
            async with listening(served) as port:
                return await slowly(port), await answer_to(port, head.encode(), parts[:40])

        (answer, longer), (stopped, closed) = served.runner.run(both())
    assert longer and answer.startswith(b"HTTP/1.1 202 ")
    assert stopped.startswith(b"HTTP/1.1 408 ") and closed


def test_a_sender_that_leaves_leaves_nothing_behind(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    begun = asyncio.Event()

    async def leave(served: Served) -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        async with listening(served) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{head}Content-Length: 9999\r\n\r\n".encode() + body(("images", b"one"))["content"][:70])
            while not [*tmp_path.iterdir()]:
                await asyncio.sleep(0.01)
            begun.set()
            writer.transport.abort()
            while [*tmp_path.iterdir()]:
                await asyncio.sleep(0.01)

    with Served(backend) as served:
        served.runner.run(asyncio.wait_for(leave(served), 20))
    assert begun.is_set() and not backend._evaluations


def test_ten_thousand_images_take_little_memory(backend, tmp_path, monkeypatch):
    """300 MB of images: the process that receives them grows by a fraction of that."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    image, n = b"\xff" * 30_000, 10_000
    part = b'--b\r\nContent-Disposition: form-data; name="images"\r\n\r\n' + image + b"\r\n"

    process, highest = psutil.Process(), 0

    async def parts():
        nonlocal highest
        for number in range(n):
            yield part
            if number % 100 == 0:
                highest = max(highest, process.memory_info().rss)
        yield b"--b--\r\n"

    with Served(backend) as served:
        before = process.memory_info().rss
        answer = served.ask("POST", PATH, content=parts(), headers=FORM, timeout=120)
    assert answer.status_code == 202 and answer.json()["n"] == n
    assert 0 < highest - before < 0.4 * n * len(image)
    assert not [*tmp_path.iterdir()]


def test_the_same_files_with_the_same_key_are_one_evaluation(backend, tmp_path):
    keys = str(tmp_path / "keys.yaml")
    key = add_key(keys, "ward", ["evaluations"])
    with Served(backend, key, api_keys_file=keys) as served:
        header = {"idempotency-key": "k"}
        first = send(served, b"1", b"2", headers=header)
        assert send(served, b"1", b"2", headers=header).json() == first.json()
        assert said(send(served, b"2", b"1", headers=header), 409)["code"] == "idempotency_conflict"
