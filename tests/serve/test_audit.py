"""What is written down about a request, and what never is."""

import json
import logging
from datetime import UTC, datetime

import pytest

from tests.serve.in_process import NAME, Served
from tests.serve.test_bad_requests import EVALUATIONS, IMAGES
from vapray.api_keys import add_key

SECRET = "a lesion nobody may read about"


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.DEBUG)
    return lambda: [json.loads(record.getMessage()) for record in caplog.records if record.name == "vapray.audit"]


@pytest.fixture
def keyed(backend, tmp_path):
    key = add_key(str(tmp_path / "keys.yaml"), "ward-7", ["images", "evaluations"])
    with Served(backend, key, api_keys_file=str(tmp_path / "keys.yaml")) as made:
        yield made, key


def test_a_request_for_images_is_one_line_that_tells_all_but_the_texts(keyed, sampler, lines, caplog):
    served, key = keyed
    answer = served.images(prompt=SECRET, label="NV", n=2, seed=5, user=SECRET)
    (line,) = lines()
    assert line.pop("milliseconds") >= 0
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line.pop("time"))).total_seconds()) < 600
    assert line == {
        "request": answer.headers["x-request-id"],
        "key": "ward-7",
        "method": "POST",
        "route": IMAGES,
        "status": 200,
        "model": NAME,
        "model_sha256": sampler.model_sha256,
        "seed": 5,
        "count": 2,
        "evaluation": None,
        "error": None,
    }
    assert SECRET not in caplog.text and key not in caplog.text


def test_an_evaluation_is_one_line(keyed, lines):
    served, _ = keyed
    id = served.post(EVALUATIONS, {"generate": {"n": 4, "seed": 9}}).json()["id"]
    (line,) = lines()
    assert (line["route"], line["status"], line["count"], line["seed"], line["evaluation"]) == (
        EVALUATIONS,
        202,
        4,
        9,
        id,
    )


def test_what_is_refused_is_written_down_too(keyed, lines, caplog):
    served, _ = keyed
    served.images(prompt=SECRET, n=11)
    served.images(prompt=SECRET, labl=SECRET)
    served.images(prompt=SECRET, stream=True, label="XX")
    served.post("/v1/captions", {"image": "aa=="})
    served.post("/nothing/" + SECRET.replace(" ", "-"), {})
    served.headers = {"authorization": "Bearer vr_wrong"}
    served.images(prompt=SECRET)
    found = [(line["key"], line["route"], line["status"], line["error"]) for line in lines()]
    assert found == [
        ("ward-7", IMAGES, 400, "invalid_value"),
        ("ward-7", IMAGES, 400, "unknown_parameter"),
        ("ward-7", IMAGES, 400, "unknown_class"),
        ("ward-7", "/v1/captions", 403, "insufficient_scope"),
        ("ward-7", None, 404, "not_found"),
        (None, None, 401, "invalid_api_key"),
    ]
    own = [record.getMessage() for record in caplog.records if record.name.startswith("vapray")]
    assert len(own) == len(found) and not [text for text in own if "lesion" in text or "vr_" in text]
