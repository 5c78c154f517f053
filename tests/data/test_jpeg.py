"""A JPEG is read if all of its image data is there, and only then; Pillow alone accepts half of one."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.bad_inputs.refusal import DATA, refused
from tests.data.image_bytes import END_MARKER, encode, noise
from vapray.data.decode import decode

ROWS, COLUMNS = np.mgrid[0:96, 0:128]
WAVES = 128 + 60 * np.sin(COLUMNS / 9) * np.cos(ROWS / 7)
SMOOTH = np.stack([2 * COLUMNS, 2.5 * ROWS, WAVES], axis=-1).clip(0, 255).astype(np.uint8)
CONTENTS = {
    "smooth": Image.fromarray(SMOOTH),
    "noise": noise(96),
    "odd size": Image.fromarray(SMOOTH[:67, :101]),
    "grey": Image.fromarray(SMOOTH[..., 0]),
    "black": Image.new("RGB", (512, 512)),
    "black below": Image.fromarray(np.concatenate([SMOOTH, np.zeros((512, 128, 3), np.uint8)])),
}
CODINGS: dict[str, dict[str, object]] = {
    "default": {},
    "own Huffman tables": {"optimize": True},
    "progressive": {"progressive": True},
    "full chroma": {"quality": 100, "subsampling": 0},
    "restart markers": {"restart_marker_rows": 1},
    "progressive with restart markers": {"restart_marker_rows": 1, "progressive": True},
}
FILES = {
    f"{content}, {coding}": encode(image, "JPEG", **options)
    for content, image in CONTENTS.items()
    for coding, options in CODINGS.items()
}
EACH_FILE = pytest.mark.parametrize("data", FILES.values(), ids=FILES)


@EACH_FILE
def test_a_complete_file_has_the_pixels_that_pillow_reads(data: bytes) -> None:
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode(data), expected)
    assert np.array_equal(decode(data + b"bytes behind the image" * 9), expected)


@pytest.mark.parametrize("coding", CODINGS)
def test_zeros_that_no_pixel_needs_are_no_damage(coding: str) -> None:
    data = FILES[f"noise, {coding}"]
    assert np.array_equal(decode(data[:-2] + bytes(100) + END_MARKER), decode(data))


@EACH_FILE
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_a_part_of_a_file_is_refused_however_it_ends(data: bytes, share: float) -> None:
    part = data[: int(len(data) * share)]
    zeros = bytes(20 * len(data))
    for damaged in (part, part + END_MARKER, part + zeros, part + zeros + END_MARKER, part + zeros[:20] + END_MARKER):
        text = refused(DATA, lambda damaged=damaged: decode(damaged))
        assert text.startswith("damaged or cut short: ") and text.endswith("; copy the file again")
