"""Requests as programs for OpenAI's API send them."""

import base64
import io
import json

import pytest
from PIL import Image

from serve.image_links import FOLDER, ImageLinks
from serve.settings import LinkSettings
from tests.serve.in_process import NAME, Served
from vapray.service.api_keys import add_key

ASKED = {"prompt": "NV", "seed": 3, "num_inference_steps": 2}
OPTIONAL = (
    "n", "size", "quality", "style", "background", "moderation", "output_format", "output_compression",
    "response_format", "user", "stream", "partial_images", "model", "label", "guidance_scale", "prototypes",
)  # fmt: skip


def picture(answer) -> bytes:
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["data"][0]["b64_json"])


def test_null_is_the_default_of_every_optional_field(served):
    assert picture(served.images(**ASKED, **dict.fromkeys(OPTIONAL))) == picture(served.images(**ASKED))


@pytest.mark.parametrize(
    "fields",
    [
        {"quality": "hd", "style": "vivid"},
        {"quality": "high", "moderation": "low", "background": "opaque", "output_compression": 50, "user": "ward"},
        {"n": 1.0, "seed": 3.0},
        {"size": "1024x1024"},
        {"size": "1792x1024"},
    ],
)
def test_fields_that_mean_nothing_here_change_nothing(served, fields):
    answer = served.images(**{**ASKED, **fields})
    assert picture(answer) == picture(served.images(**ASKED))
    assert answer.json()["size"] == "32x32"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("quality", [20, 100])
def test_images_come_in_the_format_asked_for_with_their_provenance(served, kind, quality):
    exact = Image.open(io.BytesIO(picture(served.images(**ASKED))))
    answer = served.images(**ASKED, output_format=kind, output_compression=quality)
    found = Image.open(io.BytesIO(picture(answer)))
    assert (found.format, answer.json()["output_format"]) == (kind.upper(), kind)
    if kind == "png" or (kind == "webp" and quality == 100):
        assert found.tobytes() == exact.tobytes()
    facts = found.text if kind == "png" else json.loads(found.getexif()[0x010E])
    assert facts["Seed"] == "3" and facts == exact.text


def test_a_stream_has_the_format_too(served):
    answer = served.images(**ASKED, stream=True, partial_images=1, output_format="jpeg")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data")]
    assert [event["output_format"] for event in events] == ["jpeg", "jpeg"]
    assert all(base64.b64decode(event["b64_json"])[:2] == b"\xff\xd8" for event in events)


@pytest.fixture
def keyed(backend, tmp_path):
    file = str(tmp_path / "keys.yaml")
    with Served(backend, add_key(file, "ward", ["images"]), api_keys_file=file, state_dir=str(tmp_path / "s")) as made:
        yield made


def test_a_url_gives_the_image_without_a_key_until_it_expires(keyed, tmp_path):
    wanted = picture(keyed.images(**ASKED))
    data = keyed.images(**ASKED, response_format="url").json()["data"][0]
    assert data["b64_json"] is None
    keyed.headers = {}
    answer = keyed.get(data["url"])
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, wanted, "image/png")
    (file,) = (tmp_path / "s" / FOLDER).iterdir()
    gone = file.rename(file.with_name("0000000001" + file.name[10:]))
    for name in (
        gone.name,
        "x",
        "9999999999-x.png",
        "9999999999-x.png%2f..",
        "..%2f..%2fkeys.yaml",
        file.name + "x",
        "9999999999-%00.png",
        "9999999999-" + 300 * "x" + ".png",
    ):
        refused = keyed.get(f"/v1/images/links/{name}")
        assert refused.status_code == 404 and "error" in refused.json(), name
    assert keyed.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    ("model", "asked", "is_url"),
    [("dall-e-3", None, True), ("dall-e-3", "b64_json", False), ("gpt-image-1", None, False), (NAME, "url", True)],
)
def test_aliases_answer_as_the_models_of_that_name(keyed, model, asked, is_url):
    answer = keyed.images(**ASKED, model=model, response_format=asked)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["data"][0]["url"] is not None) is is_url
    assert answer.json()["model"] == NAME


def test_links_are_bounded_in_number_and_time(tmp_path):
    now = [1_000_000.0]
    links = ImageLinks(str(tmp_path), LinkSettings(seconds=100, images=5), lambda: now[0])
    names = []
    for number in range(40):
        now[0] += 10
        names.append(links.add(bytes([number]), "png"))
        assert len(list((tmp_path / FOLDER).iterdir())) <= 5 + 3
    assert links.get(names[-1]) == (bytes([39]), "png")
    now[0] += 1000
    links.add(b"", "png")
    assert len(list((tmp_path / FOLDER).iterdir())) == 1


@pytest.mark.parametrize("form", ["data:image/png;base64,{}", "{}", "\n  {}\n"])
def test_images_may_be_data_urls_or_have_line_breaks(served, form):
    encoded = base64.encodebytes(b"not looked at here" * 9).decode()
    near = served.post("/v1/neighbours", {"image": form.format(encoded), "k": 1}).json()["data"]
    assert base64.b64decode(near[0]["b64_json"]) == b"not looked at here" * 9
