"""The weights that come with vapray: small, complete, and what ``vapray studio`` opens."""

from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from vapray.captioning.measured.dermoscopy import measure_dermoscopy
from vapray.cli.app import app
from vapray.pretrained.phantoms import PHANTOM_WEIGHTS
from vapray.sampling.sampler import Sampler


def test_they_are_below_a_megabyte() -> None:
    assert 0 < sum(path.stat().st_size for path in Path(PHANTOM_WEIGHTS).rglob("*") if path.is_file()) < 1_000_000


def test_the_size_of_a_lesion_follows_its_caption() -> None:
    sampler = Sampler.load(PHANTOM_WEIGHTS)
    caption = (
        "An oval lesion with an irregular border, black and blue-grey, covering about {}% of the image, on pale skin."
    )
    (large,), (small,) = (sampler.generate("MEL", caption.format(share), seed=1) for share in (35, 10))
    shares = [measure_dermoscopy(np.asarray(made.image))["size"] for made in (large, small)]
    assert shares[0] > 0.25 and shares[1] < 0.15


def test_the_studio_opens_them(monkeypatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(
        "vapray.service.serving.serve_until_interrupted", lambda *given, **options: served.append(given)
    )
    assert CliRunner().invoke(app, ["studio"]).exit_code == 0
    assert served == [(None, [f"phantoms={PHANTOM_WEIGHTS}"])]
