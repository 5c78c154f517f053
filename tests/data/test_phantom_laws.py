"""What a phantom's attributes promise is what its masks and pixels hold."""

import numpy as np
import pytest
from skimage.measure import regionprops

from vapray.data.decode import center_crop
from vapray.data.phantom import colonoscopy, dermoscopy
from vapray.data.phantom.canvas import Attributes, Drawing, Mask
from vapray.data.phantom.modalities import MODALITIES, find_modality
from vapray.data.phantom.surface import SMALLEST_PATCH, paint_rings
from vapray.errors import ConfigError

HEIGHT, WIDTH = 96, 128
LESION_MODALITIES = {"dermoscopy": dermoscopy, "colonoscopy": colonoscopy}
VOCABULARY = {
    "shape": {"round", "oval", "elongated"},
    "outline": {"smooth", "irregular"},
    "texture": {"uniform", "speckled", "streaked"},
    "symmetry": {"symmetric", "asymmetric"},
    "opacity_location": {"none", "left upper", "left lower", "right upper", "right lower"},
    "opacity_density": {"none", "faint", "dense"},
}
COLOURS = {
    "dermoscopy": {"light brown", "dark brown", "black", "red", "blue-grey", "white"},
    "colonoscopy": {"pink", "red", "pale", "yellow", "dark red"},
}
BACKGROUNDS = {
    "dermoscopy": {"pale skin", "tan skin", "brown skin"},
    "colonoscopy": {"pink mucosa", "red mucosa", "orange mucosa"},
}
RANGES = {
    ("dermoscopy", "size"): (0.05, 0.5),
    ("colonoscopy", "size"): (0.05, 0.4),
    ("chest_xray", "lung_area"): (0.25, 0.5),
    ("chest_xray", "heart_width"): (0.2, 0.45),
    ("chest_xray", "opacity_size"): (0.0, 0.1),
}


def crop(mask: Mask) -> Mask:
    """The mask in the centred square."""
    return center_crop(mask.astype(np.uint8)[..., None])[..., 0].astype(bool)


def draw_some(modality: str, count: int, seed: int = 0) -> list[tuple[str, Attributes, Drawing]]:
    room, rng = MODALITIES[modality], np.random.default_rng(seed)
    names = [room.class_names[number % len(room.class_names)] for number in range(count)]
    attributes = [room.draw_attributes(name, rng) for name in names]
    return [
        (name, wanted, room.draw(wanted, rng, HEIGHT, WIDTH, lesion_seed=None))
        for name, wanted in zip(names, attributes, strict=True)
    ]


@pytest.mark.parametrize("modality", MODALITIES)
def test_attributes_stay_within_the_vocabulary(modality: str) -> None:
    room, rng = MODALITIES[modality], np.random.default_rng(1)
    for class_name in room.class_names:
        for _ in range(100):
            for name, value in room.draw_attributes(class_name, rng).items():
                if isinstance(value, float):
                    low, high = RANGES[modality, name]
                    assert low <= value <= high
                elif isinstance(value, tuple):
                    assert set(value) <= COLOURS[modality] and value == tuple(sorted(set(value))) and value
                else:
                    assert value in (BACKGROUNDS[modality] if name == "background" else VOCABULARY[name])


@pytest.mark.parametrize("modality", MODALITIES)
def test_attributes_vary_within_every_class(modality: str) -> None:
    room, rng = MODALITIES[modality], np.random.default_rng(2)
    for class_name in room.class_names:
        seen = [tuple(room.draw_attributes(class_name, rng).items()) for _ in range(30)]
        assert len(set(seen)) == 30


@pytest.mark.parametrize("modality", MODALITIES)
def test_same_seed_same_pixels_and_another_seed_others(modality: str) -> None:
    first, again, other = (draw_some(modality, 2, seed)[1][2].image for seed in (3, 3, 4))
    assert first.dtype == np.uint8 and first.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("modality", LESION_MODALITIES)
def test_size_is_the_masks_share_of_the_square_and_the_lesion_lies_inside_it(modality: str) -> None:
    for _, wanted, drawing in draw_some(modality, 60):
        inside = crop(drawing.masks["lesion"])
        assert inside.mean() == pytest.approx(wanted["size"], abs=0.01)
        assert inside.sum() == drawing.masks["lesion"].sum()
        assert not (inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any())


@pytest.mark.parametrize("modality", LESION_MODALITIES)
def test_shape_is_the_fitted_ellipses_axis_ratio_and_outline_its_roughness(modality: str) -> None:
    solidity: dict[str, list[float]] = {"smooth": [], "irregular": []}
    for _, wanted, drawing in draw_some(modality, 60):
        (region,) = regionprops(drawing.masks["lesion"].astype(np.uint8))
        ratio = region.axis_major_length / region.axis_minor_length
        measured = "round" if ratio < 1.25 else "oval" if ratio < 1.8 else "elongated"
        assert measured == wanted["shape"], (ratio, wanted)
        solidity[str(wanted["outline"])].append(region.solidity)
    assert min(solidity["smooth"]) > 0.94 > np.median(solidity["irregular"])


@pytest.mark.parametrize("room", LESION_MODALITIES.values(), ids=LESION_MODALITIES)
def test_every_named_colour_covers_its_part_of_the_lesion(room: object) -> None:
    palette = np.array(list(room.COLOURS.values()), np.float32)  # type: ignore[attr-defined]
    axis = np.linspace(-0.4, 0.4, 96, dtype=np.float32)
    depth = 1 - np.hypot(axis[None, :], axis[:, None]) / 0.3
    mask = depth > 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        chosen = palette[rng.choice(len(palette), 1 + seed % 3, replace=False)]
        painted = paint_rings(axis[None, :], axis[:, None], depth, mask, chosen, rng)[mask]
        nearest = np.linalg.norm(painted[:, None] - chosen, axis=2).argmin(axis=1)
        assert np.bincount(nearest, minlength=len(chosen)).min() > (SMALLEST_PATCH - 0.03) * mask.sum()


@pytest.mark.parametrize("modality", LESION_MODALITIES)
def test_the_lesion_stands_out_from_its_background(modality: str) -> None:
    for _, wanted, drawing in draw_some(modality, 40):
        lesion, frame = (
            crop(drawing.masks["lesion"]),
            center_crop(drawing.image).astype(float),
        )
        difference = np.abs(frame[lesion] - np.median(frame[~lesion], axis=0)).max(axis=-1)
        assert np.median(difference) > 20, wanted


def test_chest_masks_have_the_stated_lung_area_heart_width_and_opacity_size() -> None:
    for _, wanted, drawing in draw_some("chest_xray", 80):
        masks = {name: crop(mask) for name, mask in drawing.masks.items()}
        assert masks["lungs"].mean() == pytest.approx(wanted["lung_area"], abs=0.01)
        assert masks["lungs"].sum() == drawing.masks["lungs"].sum()
        columns = np.flatnonzero(masks["heart"].any(axis=0))
        assert (np.ptp(columns) + 1) / HEIGHT == pytest.approx(wanted["heart_width"], abs=0.025)
        assert masks["opacity"].mean() == pytest.approx(wanted["opacity_size"], abs=0.005)
        assert not (masks["opacity"] & ~masks["lungs"]).any()


def test_an_opacity_lies_where_it_is_said_to_and_brightens_the_lung() -> None:
    for name, wanted, drawing in draw_some("chest_xray", 80):
        opacity, lungs = drawing.masks["opacity"], drawing.masks["lungs"]
        if name in ("Normal", "Cardiomegaly"):
            assert wanted["opacity_location"] == wanted["opacity_density"] == "none" and not opacity.any()
            continue
        rows, columns = np.nonzero(opacity)
        side = "left" if columns.mean() < WIDTH / 2 else "right"
        zone = "upper" if rows.mean() < np.mean(np.flatnonzero(lungs.any(axis=1))[[0, -1]]) else "lower"
        assert f"{side} {zone}" == wanted["opacity_location"]
        grey = drawing.image[..., 0].astype(float)
        assert grey[opacity].mean() > grey[lungs & ~opacity].mean() + 15


def test_an_asymmetric_chest_has_one_clearly_smaller_lung() -> None:
    for _, wanted, drawing in draw_some("chest_xray", 60):
        halves = drawing.masks["lungs"][:, : WIDTH // 2].sum(), drawing.masks["lungs"][:, WIDTH // 2 :].sum()
        # The heart takes more of the right half, so symmetric is not equal.
        if wanted["symmetry"] == "asymmetric":
            assert min(halves) / max(halves) < 0.87
        else:
            assert min(halves) / max(halves) > 0.62


def test_two_views_of_a_lesion_share_its_outline_but_not_its_place() -> None:
    room = MODALITIES["dermoscopy"]
    wanted = room.draw_attributes("MEL", np.random.default_rng(5))
    views = [
        room.draw(wanted, np.random.default_rng(seed), HEIGHT, WIDTH, lesion_seed=lesion).masks["lesion"]
        for seed, lesion in ((1, 7), (2, 7), (2, 8))
    ]
    moments = [regionprops(view.astype(np.uint8))[0].moments_hu for view in views]
    assert not np.array_equal(views[0], views[1])
    assert np.abs(moments[0] - moments[1]).max() < np.abs(moments[1] - moments[2]).max()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 96), (150, 100)])
@pytest.mark.parametrize("modality", MODALITIES)
def test_any_picture_size_can_be_drawn(modality: str, height: int, width: int) -> None:
    room, rng = MODALITIES[modality], np.random.default_rng(0)
    drawing = room.draw(room.draw_attributes(room.class_names[0], rng), rng, height, width, lesion_seed=None)
    assert drawing.image.shape == (height, width, 3)
    assert all(mask.shape == (height, width) for mask in drawing.masks.values())


def test_an_unknown_modality_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="dermoscopy, chest_xray, colonoscopy"):
        find_modality("mri")
