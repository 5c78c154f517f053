"""What clients send that cannot be served: each is a 4xx in OpenAI's shape that says what to mend."""

import json

import pytest

from tests.serve.in_process import InProcess, Served

IMAGES, EVALUATIONS = "/v1/images/generations", "/v1/evaluations"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def module_served(sampler):
    with Served(InProcess(sampler)) as made:
        yield made


def said(answer, status: int) -> dict:
    """The error, in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    error = answer.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["type"] == "invalid_request_error" and error["message"] and error["code"]
    return error


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"[]", "an array"),
        (b"null", "null"),
        (b'"NV"', "text"),
        (b"7", "a number"),
        (b"{", "line 1, column 2"),
        (b"{} {}", "line 1, column 4"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b'{"prompt": "\xc3("}', "not UTF-8 at byte 12"),
        (b'{"prompt": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"prompt":' + b"[" * 50 + b"]" * 50 + b"}", "nested too deeply"),
        (b'{"prompt": "NV", "prompt": "MEL"}', "the key prompt occurs twice"),
        (b'{"prompt": "NV", "seed": NaN}', "NaN is not a JSON number"),
        (b'{"prompt": "NV", "guidance_scale": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"prompt": "NV", "seed": ' + b"9" * 5000 + b"}", "more digits than"),
        (json.dumps({f"x{at}": 1 for at in range(50_000)}).encode(), "50000 keys in one object"),
        (b'{"images": [' + b"1," * 2**20 + b"1]}", "more than 100000 values"),
        (b"[" * 2**20, "more than 100000 values"),
        (b'{"prompt": "\\ud83d"}', "surrogate"),
        (b'{"\\ud83d": 1}', "surrogate"),
        (b'{"\\ud83d": 1, "\\ud83d": 2}', "occurs twice"),
    ],
)
@pytest.mark.parametrize("path", [IMAGES, EVALUATIONS, "/v1/bank/NV/distance"])
def test_what_is_no_json_object_is_refused(module_served, path, body, words):
    error = said(module_served.ask("POST", path, content=body, headers=JSON), 400)
    assert words in error["message"] and error["code"] == "invalid_json"


def test_whole_surrogate_pairs_are_text(served):
    answer = served.ask("POST", "/v1/bank/NV/distance", content=b'{"caption": "red \\ud83d\\ude00"}', headers=JSON)
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; x", ""])
def test_a_body_that_is_not_called_json_is_refused(module_served, kind):
    answer = module_served.ask("POST", IMAGES, content=b'{"prompt": "NV"}', headers={"content-type": kind})
    assert said(answer, 415)["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("fields", "param", "code", "words"),
    [
        ({"n": 0}, "n", "invalid_value", "n = 0"),
        ({"n": 11}, "n", "invalid_value", "n = 11: expected a whole number, at least 1 and at most 10"),
        ({"n": "3"}, "n", "invalid_value", "n = '3'"),
        ({"n": True}, "n", "invalid_value", "n = true"),
        ({"n": 2.5}, "n", "invalid_value", "n = 2.5"),
        ({"stream": 1}, "stream", "invalid_value", "stream = 1"),
        ({"prompt": ""}, "prompt", "invalid_value", "expected text, not empty"),
        ({"prompt": " \n\t"}, "prompt", "invalid_value", "blank"),
        ({"prompt": "x" * 2**20}, "prompt", "invalid_value", "1048576 characters, at most 2000"),
        ({"prompt": 7}, "prompt", "invalid_value", "expected text"),
        ({"prompt": None}, "prompt", "invalid_value", "got neither"),
        ({"bank": "draw", "label": 0}, "prompt", "invalid_value", "got both"),
        ({"prompt": None, "bank": "draw"}, "label", "invalid_value", "required with bank"),
        ({"label": "NVV"}, "label", "unknown_class", "MEL, NV"),
        ({"label": -1}, "label", "unknown_class", "0..4"),
        ({"label": 5}, "label", "unknown_class", "0..4"),
        ({"label": True}, "label", "invalid_value", "a whole number, or text"),
        ({"label": 1.5}, "label", "invalid_value", "a whole number, or text"),
        ({"label": ["NV"]}, "label", "invalid_value", "a whole number, or text"),
        ({"prompt": "MEL", "label": "NV"}, "prompt", "invalid_value", "different classes"),
        ({"seed": -1}, "seed", "invalid_value", "seed = -1"),
        ({"seed": 2**63 - 1000}, "seed", "invalid_value", "at most 9223372036854774807"),
        ({"seed": 2**63 - 1001, "n": 2}, "seed", "invalid_value", "for 2 images"),
        ({"seed": "7"}, "seed", "invalid_value", "seed = '7'"),
        ({"guidance_scale": -0.1}, "guidance_scale", "invalid_value", "-0.1"),
        ({"guidance_scale": 100.1}, "guidance_scale", "invalid_value", "100.1"),
        ({"guidance_scale": "2"}, "guidance_scale", "invalid_value", "expected a number"),
        ({"guidance_scale": True}, "guidance_scale", "invalid_value", "expected a number"),
        ({"num_inference_steps": 0}, "num_inference_steps", "invalid_value", "0"),
        ({"num_inference_steps": 251}, "num_inference_steps", "invalid_value", "1..250"),
        ({"solver": "euler"}, "solver", "invalid_value", "one of dpm_solver_2m, ddim"),
        ({"prototypes": False}, "prototypes", "invalid_value", "one of on, bypassed"),
        ({"size": "640x480"}, "size", "invalid_value", "accepts auto, 32x32, and OpenAI's sizes"),
        ({"size": 32}, "size", "invalid_value", "expected text"),
        ({"output_format": "gif"}, "output_format", "invalid_value", "one of png, jpeg, webp"),
        ({"output_compression": 101}, "output_compression", "invalid_value", "at most 100"),
        ({"response_format": "link"}, "response_format", "invalid_value", "one of b64_json, url"),
        ({"quality": "best"}, "quality", "invalid_value", "one of auto"),
        ({"background": "transparent"}, "background", "invalid_value", "images are opaque"),
        ({"user": "x" * 257}, "user", "invalid_value", "at most 256"),
        ({"partial_images": 4, "stream": True}, "partial_images", "invalid_value", "4"),
        ({"partial_images": 1}, "partial_images", "invalid_value", "stream = true"),
        ({"deadline_seconds": 0}, "deadline_seconds", "invalid_value", "above 0"),
        ({"deadline_seconds": 1e4}, "deadline_seconds", "invalid_value", "at most 300"),
        ({"guidance_scle": 2}, "guidance_scle", "unknown_parameter", "Did you mean guidance_scale?"),
        ({"x" * 2000: 2}, "x" * 64, "unknown_parameter", "Known: prompt"),
        ({"image_url": "http://169.254.169.254/"}, "image_url", "unknown_parameter", "unknown key image_url"),
    ],
)
def test_a_request_for_images_says_what_is_wrong(module_served, fields, param, code, words):
    error = said(module_served.post(IMAGES, {"prompt": "NV", **fields}), 400)
    assert (error["param"], error["code"]) == (param, code)
    assert words in error["message"] and len(error["message"]) < 1000


def test_an_infinity_in_disguise_is_refused(module_served):
    body = b'{"prompt": "NV", "guidance_scale": 1e999}'
    assert said(module_served.ask("POST", IMAGES, content=body, headers=JSON), 400)["param"] == "guidance_scale"


def test_all_that_is_wrong_is_said_at_once(module_served):
    shape = said(module_served.post(IMAGES, {"n": 0, "seed": -1, "labl": "NV"}), 400)
    assert all(words in shape["message"] for words in ("n = 0", "seed = -1", "Did you mean label?"))
    sense = said(module_served.post(IMAGES, {"prompt": " ", "size": "1x1", "label": "XX"}), 400)
    assert all(words in sense["message"] for words in ("blank", "size = 1x1", "unknown class"))


def test_an_entry_that_the_bank_has_not_is_refused_in_a_stream_too(module_served):
    for stream in (False, True):
        asked = {"bank": "NV-9999", "label": "NV", "stream": stream, "num_inference_steps": 1}
        assert said(module_served.post(IMAGES, asked), 400)["code"] == "unknown_bank_id"


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "generate", "missing"),
        ({"images": ["aa=="]}, "generate", "missing"),
        ({"generate": {}}, "generate.n", "missing"),
        ({"generate": {"n": 1}}, "generate.n", "at least 2"),
        ({"generate": {"n": 10_001}}, "generate.n", "at most 10000"),
        ({"generate": {"n": 2, "seed": 2**63 - 1001}}, "generate.seed", "for 2 images"),
        ({"generate": {"n": 2, "sed": 1}}, "generate.sed", "Did you mean seed?"),
        ({"generate": {"n": 2, "label": "XX"}}, "generate.label", "unknown class"),
        ({"generate": {"n": 2, "num_inference_steps": 900}}, "generate.num_inference_steps", "1..250"),
        ({"generate": [2]}, "generate", "expected keys below it"),
    ],
)
def test_an_evaluation_says_what_is_wrong(module_served, body, param, words):
    error = said(module_served.post(EVALUATIONS, body), 400)
    assert error["param"] == param and words in error["message"]


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("/v1/models/none", 404, "model"),
        ("/v1/models/", 404, None),
        ("/v1/classes?model=none", 404, "model"),
        ("/v1/classes?modl=none", 400, "modl"),
        ("/v1/bank/XX", 404, "class"),
        ("/v1/bank/5", 404, "class"),
        ("/v1/bank/-1", 404, "class"),
        ("/v1/bank/99999999999999999999", 404, "class"),
        ("/v1/bank/%00", 404, "class"),
        ("/v1/bank/%ff", 404, "class"),
        ("/v1/bank/NV?limit=0", 400, "limit"),
        ("/v1/bank/NV?limit=101", 400, "limit"),
        ("/v1/bank/NV?limit=x", 400, "limit"),
        ("/v1/bank/NV?after=x", 400, "after"),
        ("/v1/bank/NV?offset=1", 400, "offset"),
        ("/v1/bank/NV/draw?seed=-1", 400, "seed"),
        ("/v1/bank/NV/draw?seed=" + "9" * 5000, 400, "seed"),
        ("/v1/evaluations/none", 404, "id"),
        ("/v1/images/generations", 405, None),
        ("/none", 404, None),
        ("/studio/../settings.py", 404, None),
        ("/studio/%2e%2e/settings.py", 404, None),
    ],
)
def test_what_is_asked_for_by_its_path_says_what_is_wrong(module_served, path, status, param):
    assert said(module_served.get(path), status)["param"] == param


def test_an_empty_idempotency_key_is_refused(module_served):
    for value in ("", "x" * 256):
        answer = module_served.post(IMAGES, {"prompt": "NV"}, headers={"idempotency-key": value})
        assert said(answer, 400)["param"] == "idempotency-key"


def test_what_the_service_does_not_offer_is_not_found(backend):
    with Served(backend, captioner=None, show_training_images=False, evaluator=None) as served:
        asked = {"/v1/neighbours": {"image": "aa=="}, "/v1/captions": {"image": "aa=="}}
        for path, body in {**asked, EVALUATIONS: {"generate": {"n": 2}}}.items():
            assert said(served.post(path, body), 404)["code"] == "not_enabled"


def test_what_nobody_foresaw_is_told_without_details(served, backend, caplog):
    async def fail(job):
        raise RuntimeError(f"bad caption {job.caption}")

    backend.image = fail
    answer = served.images(prompt="a secret lesion")
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert answer.headers["x-request-id"] in error["message"]
    assert "secret" not in answer.text and "Traceback" not in answer.text
    logged = [record.getMessage() for record in caplog.records if record.name == "vapray.api"]
    assert len(logged) == 1 and answer.headers["x-request-id"] in logged[0] and "RuntimeError" in logged[0]
    assert "secret lesion" not in json.dumps(logged)
