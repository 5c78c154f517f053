"""The audited sample is measured in the detail of its captions."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from vapray.caption_audit.sample.stage import _MeasureAndRecaption
from vapray.captioning.prompt_set import load_prompt_set
from vapray.config.loader import load_config
from vapray.data.phantom.modalities import find_modality
from vapray.data.phantom.plan import draw_view, plan_views


@pytest.mark.parametrize("detail", ["plain", "rich"])
def test_every_attribute_of_the_detail_is_measured(detail: str, tmp_path: Path) -> None:
    (view,) = plan_views(find_modality("dermoscopy"), 1, seed=0, shares={"train": 1.0})
    image = tmp_path / "one.png"
    Image.fromarray(draw_view(find_modality("dermoscopy"), view, 96, 96)).save(image)
    columns = {"image_id": "one", "group": "one", "caption": "A lesion.", "path": str(image), "repeated": False}
    rows = pa.table({name: [value] for name, value in columns.items()}).append_column("recaptions", pa.array([[]]))
    measure = _MeasureAndRecaption(load_config(None, [f"caption.detail={detail}"], preset="modern"), {})
    (row,) = measure(rows).to_pylist()
    needed = {name for name, spec in load_prompt_set("dermoscopy", detail).attributes.items() if not spec.optional}
    assert needed <= json.loads(row["measured"]).keys()
