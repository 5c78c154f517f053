"""Endpoints that refuse sampling parameters, images or keys: the stage adapts, or ends after few requests."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.captioning.test_openai_chat import _Busy, captions_of
from vapray.captioning.captioner import CaptionDraft, CaptionReject
from vapray.captioning.endpoint_parameters import ServerParameters, setting_of
from vapray.captioning.factory import build_captioner
from vapray.captioning.openai_chat import MAX_REFUSALS
from vapray.config.loader import load_config
from vapray.errors import BackendError

DIRECT = "caption.strategy=direct"
SENT = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 64, "seed": 7}
"""Parameters of a request of these tests; ``max_tokens`` may go by its other name."""


def openai_says(name: str, hint: str = "") -> dict:
    said = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
    return {"error": {"message": said, "type": "invalid_request_error", "param": name, "code": "unsupported_parameter"}}


def pydantic_says(name: str) -> dict:
    return {"detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]}


def gemini_says(name: str) -> list:
    said = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
    return [{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}]


def serde_says(name: str) -> dict:
    return {
        "error": {"message": f"unknown field `{name}`, expected one of `model`, `messages`, `temperature`, `top_p`"}
    }


def reasoning_says(name: str) -> dict:
    said = f"Unsupported value: '{name}' does not support 0.0 with this model. Only the default (1) value is supported."
    return {"error": {"message": said, "param": name, "code": "unsupported_value"}}


REFUSALS: dict[str, tuple[int, set[str], Callable[[str], object]]] = {
    "OpenAI, reasoning": (400, {"max_tokens"}, lambda name: openai_says(name, " Use 'max_completion_tokens' instead.")),
    "OpenAI, fixed sampling": (400, {"temperature", "top_p"}, reasoning_says),
    "Gemini": (400, {"seed"}, gemini_says),
    "pydantic": (422, {"seed", "top_p"}, pydantic_says),
    "neither name of the limit": (422, {"max_tokens", "max_completion_tokens"}, pydantic_says),
    "serde": (400, {"seed"}, serde_says),
    "Azure": (400, {"seed"}, lambda name: {"error": {"message": f"Unrecognized request argument supplied: {name}"}}),
    "Bedrock": (400, {"max_tokens"}, lambda name: {"message": f"#: extraneous key [{name}] is not permitted"}),
    "everything": (400, set(SENT), openai_says),
}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[str, list[dict]]]]:
    """Servers by their answer to a request: status and JSON, or None for a caption. Gives URL and request bodies."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[dict], tuple[int, object] | None]) -> tuple[str, list[dict]]:
        bodies: list[dict] = []

        class Handler(_Busy):
            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                message = {"role": "assistant", "content": "A round red lesion on pale skin."}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                self._send(*(answer(bodies[-1]) or (200, {"id": "1", "choices": [choice]})))

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/v1", bodies

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def shows_image(body: dict) -> bool:
    return len(body["messages"][0]["content"]) == 2


@pytest.mark.parametrize(("status", "unknown", "says"), REFUSALS.values(), ids=REFUSALS)
def test_refused_parameters_are_left_out_and_all_others_sent(
    endpoint: Callable, status: int, unknown: set[str], says: Callable[[str], object]
) -> None:
    def answer(body: dict) -> tuple[int, object] | None:
        refused = [name for name in body if name in unknown]
        return (status, says(refused[0])) if refused else None

    url, bodies = endpoint(answer)
    drafts = captions_of(url, DIRECT, "endpoint.concurrency=1")
    assert [type(draft) for draft in drafts] == [CaptionDraft] * 4
    limit = "max_completion_tokens" if "max_tokens" in unknown else "max_tokens"
    accepted = {*SENT, limit} - unknown - ({"max_tokens"} - {limit})
    assert [set(body) - {"model", "messages"} for body in bodies[-4:]] == [accepted] * 4
    assert all(body[limit] == 64 for body in bodies[-4:] if limit in accepted)
    assert len(bodies) == 4 + len(unknown)


def test_of_two_parameters_that_exclude_each_other_the_last_is_left_out() -> None:
    known = ServerParameters()
    assert known.learn(SENT, "`temperature` and `top_p` cannot both be specified for this model.")
    assert known.adapt(SENT).keys() == {"temperature", "max_tokens", "seed"}


@pytest.mark.parametrize(
    ("said", "setting"),
    [
        ("max_tokens is too large: 5000. This model supports at most 4096 completion tokens.", "caption.max_tokens"),
        ("Invalid 'temperature': 2.5, expected a value of at most 1.", "caption.temperature"),
        ("'response_format' of type 'json_schema' is not supported with this model.", "caption.structured_output"),
        ("This model's maximum context length is 1024 tokens.", None),
        ("unknown variant `image_url`, expected `text`", None),
    ],
)
def test_a_wrong_value_is_no_unknown_parameter_and_names_its_setting(said: str, setting: str | None) -> None:
    known = ServerParameters()
    assert not known.learn({**SENT, "response_format": {}}, said)
    assert known.adapt(SENT) == SENT
    assert setting_of(said) == setting


def test_a_refused_value_rejects_images_with_the_name_of_the_setting(endpoint: Callable) -> None:
    url, _ = endpoint(lambda body: (400, {"error": {"message": "max_tokens is too large: 64."}}))
    answers = captions_of(url, DIRECT)
    assert all(isinstance(one, CaptionReject) and "(setting caption.max_tokens)" in one.reason for one in answers)


FAILURES: dict[str, tuple[Callable[[dict], tuple[int, object] | None], str]] = {
    "no images": (
        lambda body: (400, {"error": {"message": "unknown variant `image_url`"}}) if shows_image(body) else None,
        r"refuses every image, the last one with: .*image_url.* Fix: set a caption\.model that accepts images\.",
    ),
    "a parameter that stays": (
        lambda body: (400, {"error": {"message": "top_p must be below 1"}}) if shows_image(body) else None,
        r"refuses every image, .*Fix: change caption\.top_p\.",
    ),
    "the key": (lambda body: (401, {"error": {"message": "no"}}), r"the key is refused\. Fix: set endpoint\.api_key"),
    "the model": (lambda body: (404, {"error": {"message": "no such model"}}), r"caption\.model is 'tiny'; the server"),
    "the account": (lambda body: (402, {"error": {"message": "no credit"}}), r"no credit\)\. Fix: check .*account"),
    "the size": (lambda body: (413, {"error": {"message": "too large"}}), r"Fix: lower caption\.image_size\."),
}


@pytest.mark.parametrize(("answer", "said"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("strategy", ["direct", "vaps"])
def test_a_server_that_fails_for_every_image_is_asked_a_bounded_number_of_times(
    endpoint: Callable, answer: Callable, said: str, strategy: str
) -> None:
    url, bodies = endpoint(answer)
    settings = ["caption.captioner=openai", "caption.model=tiny", f"endpoint.base_url={url}", "caption.revision=v1"]
    settings += [f"caption.strategy={strategy}", "endpoint.concurrency=4"]
    images = [np.zeros((32, 32, 3), np.uint8)] * 400
    with pytest.raises(BackendError, match=said):
        build_captioner(load_config(None, settings)).caption(images, [f"image {n}" for n in range(400)])
    assert len(bodies) <= MAX_REFUSALS + 5


def test_single_refusals_among_answers_never_end_the_stage(endpoint: Callable) -> None:
    count = iter(range(10**6))
    url, _ = endpoint(lambda body: (400, {"error": {"message": "policy"}}) if next(count) % 4 else None)
    settings = ["caption.captioner=openai", "caption.model=tiny", f"endpoint.base_url={url}", "caption.revision=v1"]
    captioner = build_captioner(load_config(None, [*settings, DIRECT, "endpoint.concurrency=4"]))
    answers = captioner.caption([np.zeros((32, 32, 3), np.uint8)] * 80, [f"image {n}" for n in range(80)])
    assert [isinstance(one, CaptionDraft) for one in answers].count(True) == 20


def test_the_stage_ends_after_few_requests_of_its_many_parts(
    endpoint: Callable, joined_job: Callable, tmp_path: Path
) -> None:
    assert joined_job("ingest", root=tmp_path).returncode == 0
    for name in ("the key", "no images"):
        answer, _ = FAILURES[name]
        url, bodies = endpoint(answer)
        asked = ["caption.captioner=openai", "caption.model=tiny", f"endpoint.base_url={url}", "endpoint.concurrency=2"]
        done = joined_job("caption", *asked, "caption.strategy=impression", "pools.caption.batch_rows=2", root=tmp_path)
        assert done.returncode == BackendError.exit_code, done.stderr
        assert "refuse" in done.stderr
        assert 0 < len(bodies) <= MAX_REFUSALS + 5
