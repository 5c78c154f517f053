"""A captioner replica words pictures as the run's own captioner does."""

import asyncio
import hashlib
import io
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve.deployments.captioner import MAX_CONCURRENT, CaptionerReplica
from serve.errors import ApiError
from vapray.captioning.factory import build_captioner
from vapray.data.image_loading import load_square_image, read_bytes
from vapray.errors import EngineDeadError
from vapray.sampling.checkpoint_loading import read_metadata
from vapray.store.run_store import Store


@pytest.fixture(scope="module")
def pictures(small_run: Path) -> list[str]:
    store = Store(str(small_run))
    return store.version("images", store.latest("images").fingerprint).read(["path"])["path"].to_pylist()[:4]


def blank() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(buffer, format="PNG")
    return buffer.getvalue()


def test_several_at_once_are_described_by_what_is_seen_in_them(small_checkpoint, pictures):
    captioner = CaptionerReplica(str(small_checkpoint))

    async def described():
        return await asyncio.gather(*(captioner.caption(read_bytes(path)) for path in pictures))

    first, again = asyncio.run(described()), asyncio.run(described())
    assert first == again
    assert {one.captioner for one in first} == {"measured captions"}
    assert len({one.caption for one in first}) == 4
    config = read_metadata(str(small_checkpoint)).config
    frame = load_square_image(pictures[0], config.caption.image_size)
    (own,) = build_captioner(config).caption(np.stack([frame]), ["other"])
    shared = set(own.caption.lower().split()) & set(first[0].caption.lower().split())
    assert len(shared) > 8


def test_many_wait_for_the_engine_side_by_side(small_checkpoint, pictures):
    captioner, many = CaptionerReplica(str(small_checkpoint)), threading.Barrier(MAX_CONCURRENT // 2)
    described = captioner._captioner.caption

    def together(images, ids):
        many.wait(timeout=60)  # broken unless as many are here at the same time
        return described(images, ids)

    captioner._captioner.caption = together
    picture = read_bytes(pictures[0])

    async def all_described():
        return await asyncio.gather(*(captioner.caption(picture) for _ in range(MAX_CONCURRENT // 2)))

    assert len({one.caption for one in asyncio.run(all_described())}) == 1


def test_what_cannot_be_described_is_refused(small_checkpoint):
    captioner = CaptionerReplica(str(small_checkpoint))
    for image, code in ((b"no", "invalid_image"), (blank(), "not_described")):
        with pytest.raises(ApiError) as refused:
            asyncio.run(captioner.caption(image))
        assert (refused.value.status, refused.value.code, refused.value.param) == (400, code, "image")
    asyncio.run(captioner.check_health())


@pytest.mark.parametrize("captioner", ["precomputed", "ground_truth"])
def test_captions_not_written_from_images_describe_nothing_else(captioner, small_checkpoint, tmp_path):
    path = Path(shutil.copytree(small_checkpoint, tmp_path / "final"))
    card = json.loads((path / "checkpoint.json").read_bytes())
    card["config"]["caption"] |= {"captioner": captioner, "captions_file": "given.csv"}
    _rewrite(path, json.dumps(card).encode())
    with pytest.raises(ApiError) as refused:
        asyncio.run(CaptionerReplica(str(path)).caption(blank()))
    assert (refused.value.status, refused.value.code) == (404, "no_captioner")


def _rewrite(path: Path, card: bytes) -> None:
    (path / "checkpoint.json").write_bytes(card)
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["checkpoint.json"] = hashlib.sha256(card).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_a_dead_engine_is_told_to_the_client_and_to_whoever_replaces_replicas(small_checkpoint, pictures):
    captioner = CaptionerReplica(str(small_checkpoint))

    def die(*_):
        raise EngineDeadError("engine process 7 ended")

    captioner._captioner.caption = die
    with pytest.raises(ApiError) as refused:
        asyncio.run(captioner.caption(read_bytes(pictures[0])))
    assert (refused.value.status, refused.value.code) == (503, "unavailable")
    assert refused.value.retry_after_s
    with pytest.raises(EngineDeadError):
        asyncio.run(captioner.check_health())
