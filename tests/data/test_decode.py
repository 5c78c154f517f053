"""Every good picture becomes upright RGB; every bad one says why it is not."""

import io

import numpy as np
import pytest
from PIL import Image

from vapray.data.decode import center_crop, center_crop_resize, decode, resize
from vapray.errors import ImageDecodeError


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photograph(side: int = 64) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


PNG = encode(photograph())


def test_max_pixels_is_the_callers_choice() -> None:
    assert decode(PNG, max_pixels=64 * 64).shape == (64, 64, 3)
    with pytest.raises(ImageDecodeError, match="64x64"):
        decode(PNG, max_pixels=64 * 64 - 1)


def test_rgb_is_kept_bit_for_bit() -> None:
    assert np.array_equal(decode(PNG), np.asarray(photograph()))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_saturated(kind: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)
    decoded = decode(encode(Image.fromarray(ramp), kind))
    assert np.abs(decoded[0, :, 0].astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("top", [1.0, 255.0, 4000.0])
def test_float_pictures_use_the_whole_range(top: float) -> None:
    ramp = np.linspace(0, top, 256, dtype=np.float32)[None].repeat(4, axis=0)
    decoded = decode(encode(Image.fromarray(ramp), "TIFF"))
    assert np.abs(decoded[0, :, 1].astype(int) - np.arange(256)).max() <= 1


def test_a_flat_float_picture_beyond_the_range_is_not_a_division_by_zero() -> None:
    decoded = decode(encode(Image.fromarray(np.full((4, 4), 1000, np.float32)), "TIFF"))
    assert decoded.shape == (4, 4, 3) and np.ptp(decoded) == 0


COLOURED = {
    "grey": (Image.new("L", (4, 4), 90), "PNG", (90, 90, 90)),
    "grey and alpha": (Image.new("LA", (4, 4), (90, 255)), "PNG", (90, 90, 90)),
    "one bit": (Image.new("1", (4, 4), 1), "PNG", (255, 255, 255)),
    "palette": (
        Image.new("RGB", (4, 4), (200, 10, 30)).convert("P", palette=Image.Palette.ADAPTIVE),
        "PNG",
        (200, 10, 30),
    ),
    "opaque": (Image.new("RGBA", (4, 4), (200, 10, 30, 255)), "PNG", (200, 10, 30)),
    "transparent": (Image.new("RGBA", (4, 4), (200, 10, 30, 0)), "PNG", (255, 255, 255)),
    "half transparent": (Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG", (127, 127, 127)),
    "CMYK": (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
    "CMYK JPEG": (Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
    "bitmap": (Image.new("RGB", (4, 4), (1, 2, 3)), "BMP", (1, 2, 3)),
}


@pytest.mark.parametrize(("image", "kind", "colour"), COLOURED.values(), ids=COLOURED)
def test_every_mode_becomes_the_same_rgb(image: Image.Image, kind: str, colour: tuple[int, int, int]) -> None:
    decoded = decode(encode(image, kind))
    assert decoded.dtype == np.uint8 and decoded.shape[2] == 3
    assert np.abs(decoded.astype(int) - colour).max() <= 3


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
    image = np.asarray(photograph(32))
    assert np.array_equal(center_crop_resize(image, 32), image)
    assert center_crop_resize(np.asarray(photograph(48))[:40], 24).shape == (24, 24, 3)
