"""The OpenAI captioner against vLLM's own server with the tiny model, and against a server that misbehaves."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from vapray.captioning.captioner import CaptionReject
from vapray.captioning.factory import build_captioner
from vapray.config.loader import load_config
from vapray.errors import BackendError

from .conftest import SHORT
from .tiny_vlm import COLOURS, caption, impression, picture


@pytest.fixture(scope="module")
def endpoint(tiny_vlm: Path) -> Iterator[str]:
    """vLLM's OpenAI server, asked for ``tiny``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(tiny_vlm)),
        *("--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"),
        *("--max-model-len", "1024", "--max-num-seqs", "8", "--block-size", "32", "--enforce-eager"),
        *("--max-num-batched-tokens", "1024", "--enable-prompt-tokens-details"),
    ]
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def _wait_until_ready(url: str, server: subprocess.Popen) -> None:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"the server ended with {server.returncode}")


def captions_of(url: str, *settings: str) -> list:
    asked = ["caption.captioner=openai", "caption.model=tiny", f"endpoint.base_url={url}", *SHORT]
    captioner = build_captioner(load_config(None, [*asked, "caption.retries=0", *settings]))
    return captioner.caption([picture(colour) for colour in COLOURS], [*COLOURS])


@pytest.mark.slow
def test_captions_over_the_api_belong_to_their_pictures_and_use_the_prefix_cache(endpoint: str) -> None:
    answers = captions_of(endpoint)
    assert [(one.impression, one.caption) for one in answers] == [
        (impression(colour), caption(colour)) for colour in COLOURS
    ]
    assert all(0 < one.cached_tokens < one.prompt_tokens for one in answers)


@pytest.mark.slow
def test_the_folder_that_a_server_loaded_is_the_revision(endpoint: str, tiny_vlm: Path) -> None:
    asked = ["caption.captioner=openai", "caption.model=tiny", f"endpoint.base_url={endpoint}"]
    assert build_captioner(load_config(None, [*asked, "caption.strategy=direct"])).revision == str(tiny_vlm)


@pytest.mark.slow
def test_an_unknown_model_is_answered_with_the_models_there_are(endpoint: str) -> None:
    with pytest.raises(BackendError, match=r"caption\.model is 'other'; the server has tiny"):
        captions_of(endpoint, "caption.model=other")


class _Busy(BaseHTTPRequestHandler):
    """Answers 429 and 503 and drops connections before it answers each request once."""

    asked: ClassVar[dict[str, int]] = {}
    models: ClassVar[list[dict]] = []
    most_at_once = at_once = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._send(200 if self.models else 404, {"object": "list", "data": self.models})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        with self.lock:
            count = self.asked[body] = self.asked.get(body, 0) + 1
            type(self).at_once += 1
            type(self).most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.05)
        with self.lock:
            type(self).at_once -= 1
        if count == 1:
            self._send(429, {"error": {"message": "slow down"}}, {"retry-after-ms": "10"})
        elif count == 2:
            self._send(503, {"error": {"message": "busy"}}, {"retry-after-ms": "10"})
        elif count == 3:
            self.connection.close()
        else:
            said = {"role": "assistant", "content": "A round red lesion on pale skin."}
            usage = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
            choice = {"index": 0, "message": said, "finish_reason": "stop"}
            self._send(200, {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})

    def _send(self, status: int, answer: dict, headers: dict | None = None) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": len(data), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def busy() -> Iterator[str]:
    _Busy.asked, _Busy.most_at_once = {}, 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Busy)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


VLLMS = {"id": "tiny", "object": "model", "created": 5, "owned_by": "vllm", "root": "/models/tiny-v2"}
OPENAIS = {"id": "tiny", "object": "model", "created": 1686935002, "owned_by": "openai"}
TOLD: dict[str, tuple[list[dict], list[str], str]] = {
    "vLLM's root": ([{**VLLMS, "id": "other", "root": "/models/other"}, VLLMS], [], "/models/tiny-v2"),
    "a date": ([OPENAIS], [], "created 1686935002"),
    "the user's word": ([VLLMS], ["caption.revision=2024-08"], "2024-08"),
    "another model's": ([{**VLLMS, "id": "other"}], [], "unknown"),
    "nothing of it": ([{"id": "tiny", "object": "model"}], [], "unknown"),
    "no list": ([], [], "unknown"),
}


@pytest.mark.parametrize(("models", "settings", "revision"), TOLD.values(), ids=TOLD)
def test_the_revision_is_what_the_endpoint_tells(
    busy: str, monkeypatch: pytest.MonkeyPatch, models: list[dict], settings: list[str], revision: str
) -> None:
    monkeypatch.setattr(_Busy, "models", models)
    asked = ["caption.captioner=openai", "caption.model=tiny", "caption.strategy=direct", f"endpoint.base_url={busy}"]
    assert build_captioner(load_config(None, [*asked, *settings])).revision == revision


def test_rate_limits_busy_servers_and_dropped_connections_are_waited_out(busy: str) -> None:
    answers = captions_of(busy, "caption.strategy=direct", "endpoint.concurrency=2")
    assert [one.caption for one in answers] == ["A round red lesion on pale skin."] * len(COLOURS)
    assert min(_Busy.asked.values()) == 4  # each request met all three faults
    assert _Busy.most_at_once == 2


def test_a_server_that_stays_busy_is_given_up_with_advice(busy: str) -> None:
    with pytest.raises(BackendError, match=r"still limits the rate after 0 retries\. Fix: lower endpoint\.concurrency"):
        captions_of(busy, "caption.strategy=direct", "endpoint.max_retries=0")


def test_a_rate_limit_of_ones_own_spaces_the_requests(busy: str) -> None:
    began = time.monotonic()
    captions_of(busy, "caption.strategy=direct", "endpoint.requests_per_minute=300")
    assert time.monotonic() - began >= 3 * 60 / 300  # four images, one request each


def test_a_json_answer_becomes_a_caption_that_names_its_attributes(busy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"content": json.dumps({"shape": "round", "background": "pale skin"})}
    answer = {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
    monkeypatch.setattr(_Busy, "do_POST", lambda handler: handler._send(200, answer))
    answers = captions_of(busy, "caption.strategy=direct", "caption.structured_output=true")
    assert {one.caption for one in answers} == {"shape: round; background: pale skin."}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"choices": []}, "refused: the answer holds no choice (reasoning)"),
        ({"choices": [{"index": 0, "message": {"content": '["a list"]'}, "finish_reason": "stop"}]}, "not_json: "),
        ({"choices": [{"index": 0, "message": {"content": None}, "finish_reason": "stop"}]}, "not_json: "),
    ],
)
def test_an_answer_of_another_shape_is_a_reject(
    busy: str, monkeypatch: pytest.MonkeyPatch, said: dict, code: str
) -> None:
    monkeypatch.setattr(_Busy, "do_POST", lambda handler: handler._send(200, said))
    answers = captions_of(busy, "caption.strategy=direct", "caption.structured_output=true")
    assert all(isinstance(one, CaptionReject) and one.reason.startswith(code) for one in answers), answers


def test_a_web_page_where_an_api_was_expected_is_said_to_be_one(busy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def page(handler: _Busy) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/html")
        handler.end_headers()
        handler.wfile.write(b"<html>Welcome</html>")

    monkeypatch.setattr(_Busy, "do_GET", page)
    monkeypatch.setattr(_Busy, "do_POST", page)
    with pytest.raises(BackendError, match=r"not OpenAI's API\. Fix: give the URL up to and with /v1"):
        captions_of(busy, "caption.strategy=direct")


def test_nobody_listening_is_said_with_the_address() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
        with pytest.raises(BackendError, match=rf"base_url {url}: no answer after 1 retries"):
            captions_of(url, "caption.strategy=direct", "endpoint.max_retries=1")


def test_a_refused_request_rejects_its_image_alone(busy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_red(handler: _Busy) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"])).decode()
        is_red = json.loads(body)["messages"][0]["content"][0]["image_url"]["url"] == RED
        said = {"role": "assistant", "content": "A round lesion on pale skin."}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        answer = {"error": {"message": "content policy"}} if is_red else {"id": "1", "choices": [choice]}
        handler._send(400 if is_red else 200, answer)

    from vapray.captioning.openai_chat import _data_url

    RED = _data_url(picture("red"))
    monkeypatch.setattr(_Busy, "do_POST", refuse_red)
    answers = captions_of(busy, "caption.strategy=direct")
    assert [isinstance(one, CaptionReject) for one in answers] == [colour == "red" for colour in COLOURS]
    assert answers[[*COLOURS].index("red")].reason.startswith("refused: ")
