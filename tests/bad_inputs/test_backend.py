"""Backends that are missing, and servers that answer with what is no caption.

An unknown captioner is in ``test_config.py``; a model that is not there in ``tests/pretrained/test_model_files.py``; a
server that is busy, gone or no API in ``tests/captioning/test_openai_chat.py``; an engine that dies in
``tests/captioning/test_vllm_faults.py``.
"""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from vapray.captioning.captioner import CaptionDraft, CaptionReject
from vapray.captioning.factory import build_captioner
from vapray.config.loader import load_config
from vapray.errors import DataError
from vapray.runtime.cluster import require_resources, unwrap_ray_errors
from vapray.runtime.placement import ResourceDemand

from .refusal import BACKEND, DATA, refused

IMAGE = np.zeros((32, 32, 3), np.uint8)
OFFERED = {"vllm": "install vapray[vllm] where the actors run", "openai": "install vapray[openai]"}


@pytest.mark.parametrize(("captioner", "module"), [("vllm", "vllm"), ("openai", "openai"), ("openai", "aiolimiter")])
def test_a_package_that_is_not_installed_is_told_with_what_to_do_instead(
    monkeypatch: pytest.MonkeyPatch, captioner: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    config = load_config(None, [f"caption.captioner={captioner}", "caption.model=owner/name"])
    text = refused(BACKEND, lambda: build_captioner(config), f"caption.captioner = {captioner}", OFFERED[captioner])
    assert module in text and "measured" in text


def test_a_key_that_is_named_and_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    asked = ["caption.captioner=openai", "caption.model=m", "endpoint.api_key_env=NO_SUCH_KEY"]
    refused(BACKEND, lambda: build_captioner(load_config(None, asked)), "endpoint.api_key_env = NO_SUCH_KEY", "set it")


def test_a_gpu_that_is_not_there_is_told_before_anything_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vapray.runtime.cluster.live_nodes", lambda: {"node 10.0.0.1": {"CPU": 4.0}})
    monkeypatch.setattr("vapray.runtime.cluster.supports_autoscaling", lambda: False)
    words = ["an actor of caption needs 1 GPUs and the cluster has 0", "num_gpus=0 for its pool"]
    refused(BACKEND, lambda: require_resources(ResourceDemand("an actor of caption", {"CPU": 1, "GPU": 1})), *words)


def test_an_error_of_a_task_is_told_without_rays_traceback() -> None:
    from ray.exceptions import RayTaskError

    error = RayTaskError("_make", "Traceback (most recent call last)", DataError("pictures: none"), "", 1, "127.0.0.1")
    raised = error.as_instanceof_cause()
    assert isinstance(raised, DataError) and str(raised) != "pictures: none"

    def act() -> None:
        with unwrap_ray_errors("autoencoder"):
            raise raised

    assert refused(DATA, act) == "pictures: none"


class _Server(BaseHTTPRequestHandler):
    """Answers every question with the same bytes, and counts them."""

    body, asked = b"", 0

    def do_GET(self) -> None:
        self._send(b'{"data": []}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).asked += 1
        self._send(self.body)

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[type[_Server]]:
    kind = type("Server", (_Server,), {})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    kind.url = f"http://127.0.0.1:{listening.server_port}/v1"  # type: ignore[attr-defined]
    threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    yield kind
    listening.shutdown()
    listening.server_close()


def said(content: Any, **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice], **more}).encode()


def answered(server: type[_Server], body: bytes) -> CaptionDraft | CaptionReject:
    """What comes of one image; an answer that cannot be used is asked for once more."""
    server.body = body
    where = f"endpoint.base_url={server.url}"  # type: ignore[attr-defined]
    asked = ["caption.captioner=openai", "caption.model=m", "caption.strategy=direct", "caption.retries=1", where]
    (answer,) = build_captioner(load_config(None, asked)).caption([IMAGE], ["one"])
    return answer


ANSWERS = {
    "empty": (said(""), "empty: no text"),
    "null": (said(None), "empty: no text"),
    "a refusal": (said("I'm sorry, but I can't help with that."), "refusal: the model declines"),
    "50 kB": (said("A round red lesion. " * 2500), "too_long: 49,999 characters; at most 10,000"),
    "not UTF-8": (said("A red lesion.").replace(b"red", b"\xff\xfe"), "unreadable: bytes that are not UTF-8"),
    "half a surrogate": (said("A red \ud800 lesion."), "not_text: bytes that are not UTF-8"),
    "no JSON": (b"A red lesion.", "unreadable: no JSON"),
    "half of the JSON": (said("A red lesion.")[:60], "unreadable: no JSON"),
    "no message": (b'{"choices": [{"index": 0}]}', "unreadable: no text in choices[0].message.content"),
    "a list of texts": (said([{"type": "text", "text": "A red lesion."}]), "unreadable: no text in choices[0]"),
    "a number": (said(5), "unreadable: no text in choices[0]"),
    "choices that are none": (b'{"choices": "none"}', "unreadable: no text in choices[0]"),
}


@pytest.mark.parametrize(("body", "reason"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_no_caption_is_asked_for_again_and_then_a_reject(
    server: type[_Server], body: bytes, reason: str
) -> None:
    answer = answered(server, body)
    assert isinstance(answer, CaptionReject), answer
    assert answer.reason.startswith(reason)
    assert answer.reason.endswith("(reasoning, 2 attempts)")
    assert server.asked == 2


@pytest.mark.parametrize("usage", ["none", None, {"prompt_tokens": "many"}, {"prompt_tokens_details": 3}])
def test_what_a_server_says_of_its_costs_cannot_spoil_a_caption(server: type[_Server], usage: Any) -> None:
    answer = answered(server, said("A round red lesion on pale skin.", usage=usage))
    assert isinstance(answer, CaptionDraft), answer
    assert (answer.caption, answer.prompt_tokens) == ("A round red lesion on pale skin.", 0)


def test_a_knowledge_question_that_is_never_answered_ends_the_stage_with_advice(server: type[_Server]) -> None:
    server.body = said("I cannot assist with that.")
    where = f"endpoint.base_url={server.url}"  # type: ignore[attr-defined]
    config = load_config(None, ["caption.captioner=openai", "caption.model=m", "caption.retries=1", where])
    words = ["no usable answer to the knowledge question", "refusal: ", "caption.strategy=impression"]
    refused(BACKEND, lambda: build_captioner(config), *words)
    assert server.asked == 2
