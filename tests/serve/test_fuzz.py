"""Whatever arrives, no answer is a 5xx."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serve.in_process import InProcess, Served

VALID = {
    "/v1/images/generations": {"prompt": "a red lesion", "label": "NV", "seed": 3, "num_inference_steps": 1, "n": 1},
    "/v1/evaluations": {"generate": {"n": 2, "label": 1, "seed": 3}},
    "/v1/bank/NV/distance": {"caption": "a red lesion", "model": None},
    "/v1/neighbours": {"image": "aa==", "k": 1},
}
QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@pytest.fixture(scope="module")
def served(sampler):
    with Served(InProcess(sampler)) as made:
        yield made


def send(served: Served, path: str, body: bytes) -> None:
    answer = served.ask("POST", path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code < 500, (body, answer.text)
    if answer.status_code >= 400:
        assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", VALID)
@QUICK
@given(body=st.binary(max_size=64))
def test_any_bytes(served, path, body):
    send(served, path, body)


@QUICK
@given(body=st.binary(max_size=64), kind=st.text(st.characters(codec="latin-1"), max_size=20), data=st.data())
def test_forms_with_other_bytes(served, body, kind, data):
    """Bytes within a form and its header, and bytes instead of them."""
    head = b'--b\r\nContent-Disposition: form-data; name="images"\r\n\r\n'
    whole = bytearray(head + body + b"\r\n" + head + b"1\r\n--b--\r\n")
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for content in (bytes(whole), body):
        for named in ("multipart/form-data; boundary=b", f"multipart/form-data; boundary={kind}", kind):
            headers = {"content-type": named.encode("latin-1").replace(b"\n", b"").replace(b"\r", b"").strip()}
            answer = served.ask("POST", "/v1/evaluations/images", content=content, headers=headers)
            assert answer.status_code < 500, (content, headers, answer.text)


@pytest.mark.parametrize("path", VALID)
@QUICK
@given(data=st.data())
def test_json_with_other_values(served, path, data):
    body = dict(VALID[path])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.sampled_from([*body, "n", "seed", "stream", "bank", "x"]))] = data.draw(ANYTHING)
    send(served, path, json.dumps(body).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("path", VALID)
@QUICK
@given(data=st.data())
def test_json_with_other_bytes(served, path, data):
    body = bytearray(json.dumps(VALID[path]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    send(served, path, bytes(body))
