"""Text burnt into a picture changes no other picture's caption, and becomes none itself where a model says it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from vapray.captioning.captioner import CaptionDraft, Captioner, CaptionReject, Images
from vapray.captioning.chat import DecodingParams
from vapray.captioning.factory import build_captioner
from vapray.captioning.stage import CaptionImages
from vapray.captioning.vaps import VapsCaptioner
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.data.phantom.modalities import find_modality
from vapray.store.tables import REJECT

from .tiny_vlm import COLOURS, INJECTION, LABEL, LETTERS, QUESTIONS, SIDE, caption, picture, written_on

ATTACKED = 2
AS_SEEN = f"caption.image_size={SIDE}"


class _Watched:
    """A captioner, and what it was shown."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner
        self.name, self.revision, self.knowledge = captioner.name, captioner.revision, captioner.knowledge
        self.sampling = captioner.sampling
        self.seen: dict[str, NDArray[np.uint8]] = {}

    def caption(self, images: Images, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        self.seen = dict(zip(image_ids, images, strict=True))
        return self._captioner.caption(images, image_ids)


def captioned(
    config: Config, captioner: Captioner, pictures: Sequence[NDArray[np.uint8]], folder: Path
) -> tuple[list[dict[str, Any]], dict[str, NDArray[np.uint8]]]:
    """The stage's rows of these pictures by image, and what the captioner saw of them."""
    folder.mkdir()
    watched, rows = _Watched(captioner), []
    for number, image in enumerate(pictures):
        path = folder / f"{number}.png"
        Image.fromarray(image).save(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        common = {"label": 0, "split": "train", "group": str(number), "text": ""}
        rows.append({"image_id": str(number), "path": str(path), "sha256": sha256, **common})
    part = CaptionImages(config, watched)(pa.Table.from_pylist(rows)).sort_by("image_id")
    return part.to_pylist(), watched.seen


def assert_legible(seen: NDArray[np.uint8]) -> None:
    """Letters on their label, pixel for pixel as they were burnt in."""
    blank = written_on(np.zeros_like(seen))
    letters, label = (blank == LETTERS).all(-1), (blank == LABEL).all(-1)
    assert letters.sum() > 400
    assert (seen[letters] == LETTERS).all() and (seen[label] == LABEL).all()


def without_costs(row: dict[str, Any]) -> dict[str, Any]:
    """How much of a prompt was cached depends on who was asked before."""
    return {name: value for name, value in row.items() if name != "cached_tokens"}


def test_no_other_caption_changes_where_pictures_are_measured(tmp_path: Path) -> None:
    kind, dice = find_modality("dermoscopy"), np.random.default_rng(3)
    drawn = [
        kind.draw(kind.draw_attributes(name, dice), dice, SIDE, SIDE, lesion_seed=None).image
        for name in (kind.class_names * 2)[:5]
    ]
    attacked = [*drawn[:ATTACKED], written_on(drawn[ATTACKED]), *drawn[ATTACKED + 1 :]]
    config = load_config(None, [AS_SEEN])
    before, _ = captioned(config, build_captioner(config), drawn, tmp_path / "clean")
    after, seen = captioned(config, build_captioner(config), attacked, tmp_path / "attacked")
    assert_legible(seen[str(ATTACKED)])
    assert before.pop(ATTACKED) != (row := after.pop(ATTACKED))
    assert before == after
    assert any(one["caption"] for one in after)
    assert "melanoma" not in str(row["caption"]).lower() and "smith" not in str(row).lower()


def test_a_model_that_says_what_is_written_is_refused_and_its_company_is_not(
    tmp_path: Path, vllm_config: Config, vllm_captioner: VapsCaptioner
) -> None:
    config = vllm_config.model_copy(update={"caption": vllm_config.caption.model_copy(update={"image_size": SIDE})})
    clean = [picture(colour, 500 + number) for number, colour in enumerate(COLOURS)]
    attacked = [*clean[:ATTACKED], written_on(clean[ATTACKED]), *clean[ATTACKED + 1 :]]
    before, _ = captioned(config, vllm_captioner, clean, tmp_path / "clean")
    after, seen = captioned(config, vllm_captioner, attacked, tmp_path / "attacked")
    assert_legible(seen[str(ATTACKED)])
    asked = vllm_captioner.model.complete(
        (QUESTIONS.impression,), seen[str(ATTACKED)], DecodingParams(seed=0, max_tokens=64)
    )
    assert vllm_captioner.loop.run(asked).text == INJECTION  # it does fall for it

    assert before.pop(ATTACKED)["caption"] == caption([*COLOURS][ATTACKED])
    row = after.pop(ATTACKED)
    assert row["caption"] is None
    assert row[REJECT].startswith("instruction: ")
    assert not any(word in str(row) for word in ("melanoma", "Smith", "1950"))
    assert [without_costs(row) for row in before] == [without_costs(row) for row in after]
    assert all(row["caption"] for row in after)
