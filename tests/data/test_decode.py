"""Sizes, ranges and orientation of decoded images; ``test_hostile_images`` has the kinds of files."""

import numpy as np
import pytest
from PIL import Image

from tests.data.image_bytes import encode, noise
from vapray.data.decode import center_crop, center_crop_resize, decode, resize
from vapray.errors import ImageDecodeError

PNG = encode(noise())


def test_max_pixels_is_the_callers_choice() -> None:
    assert decode(PNG, max_pixels=64 * 64).shape == (64, 64, 3)
    with pytest.raises(ImageDecodeError, match="64x64"):
        decode(PNG, max_pixels=64 * 64 - 1)


def test_rgb_is_kept_bit_for_bit() -> None:
    assert np.array_equal(decode(PNG), np.asarray(noise()))


@pytest.mark.parametrize("top", [1.0, 255.0, 4000.0])
def test_float_pictures_use_the_whole_range(top: float) -> None:
    ramp = np.linspace(0, top, 256, dtype=np.float32)[None].repeat(4, axis=0)
    decoded = decode(encode(Image.fromarray(ramp), "TIFF"))
    assert np.abs(decoded[0, :, 1].astype(int) - np.arange(256)).max() <= 1


def test_a_flat_float_picture_beyond_the_range_is_not_a_division_by_zero() -> None:
    decoded = decode(encode(Image.fromarray(np.full((4, 4), 1000, np.float32)), "TIFF"))
    assert decoded.shape == (4, 4, 3) and np.ptp(decoded) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    upright = Image.fromarray(np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((16, 16), np.uint8)))
    # What a camera would have stored so that this orientation shows the upright picture.
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(inverse[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encode(stored.convert("RGB"), "JPEG", exif=exif, quality=100, subsampling=0))
    assert decoded.shape == (32, 48, 3)
    assert np.abs(decoded[..., 0].astype(int) - np.asarray(upright)).max() <= 4


@pytest.mark.parametrize(("height", "width"), [(9, 16), (16, 9), (10, 10), (1, 7)])
def test_the_square_is_centred_and_as_large_as_fits(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(height)[:, None]
    image[..., 1] = np.arange(width)[None, :]
    cut, side = center_crop(image), min(height, width)
    assert cut.shape == (side, side, 3)
    for channel, length in ((0, height), (1, width)):
        before = int(cut[..., channel].min())
        after = length - 1 - int(cut[..., channel].max())
        assert 0 <= after - before <= 1


def test_shrinking_is_antialiased_and_keeps_the_mean() -> None:
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, 32)
    assert small.shape == (32, 32, 3)
    assert np.abs(small[:, 2:-2].astype(float) - 127.5).max() < 45
    assert small.mean() == pytest.approx(stripes.mean(), abs=1)


def test_a_frame_of_its_own_size_is_untouched() -> None:
    image = np.asarray(noise(32))
    assert np.array_equal(center_crop_resize(image, 32), image)
    assert center_crop_resize(np.asarray(noise(48))[:40], 24).shape == (24, 24, 3)
