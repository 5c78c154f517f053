"""The teacher's features: on the grid of the patches, without what all patches share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.bank.tiny_models import biomedclip
from tests.evaluation import extractor_weights
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.doctor.models import check
from vapray.errors import BackendError, ConfigError
from vapray.latents.forecast import forecast
from vapray.latents.teacher import SCALE, Teacher, load_teacher, normalize_patches
from vapray.latents.teacher_files import teacher_content_hash
from vapray.runtime.forecast import ForecastInputs, Images

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights" / "dinov2-s"


def config_of(folder: Path, *changes: str, teacher: str = "dinov2") -> Config:
    named = ["alignment.kind=teacher", f"alignment.teacher={teacher}", f"alignment.weights={folder}"]
    return load_config(None, [*named, "data.image_size=32", "autoencoder.kind=pixels", "model.patch_size=8", *changes])


def teacher_of(config: Config) -> Teacher:
    teacher = load_teacher(config, "cpu")
    assert teacher is not None
    return teacher


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """A bright square in one corner, and in the opposite one."""
    images = np.full((2, 32, 32, 3), 40, np.uint8)
    images[0, :8, :8] = images[1, -8:, -8:] = 230
    return images


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extractor_weights.dinov2(tmp_path_factory.mktemp("teacher") / "dinov2")


def test_features_are_those_of_timm_at_one_patch_a_patch(dinov2: Path, pictures: NDArray[np.uint8]) -> None:
    import timm

    features = teacher_of(config_of(dinov2))(pictures)
    assert features.shape == (2, 32, 4, 4)
    network = timm.create_model(f"local-dir:{dinov2}", pretrained=True, num_classes=0, img_size=224).eval()
    network.set_input_size(img_size=(56, 56))
    planes = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    large = torch.nn.functional.interpolate(planes, size=(56, 56), mode="bicubic", antialias=True).clamp(-1, 1)
    mean, deviation = (torch.tensor(network.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        tokens = network.forward_features(((large + 1) / 2 - mean) / deviation)[:, 1:]
    wanted = normalize_patches(tokens).transpose(1, 2).reshape(2, 32, 4, 4).clamp(-127 / SCALE, 127 / SCALE)
    np.testing.assert_allclose(features / SCALE, wanted, atol=0.51 / SCALE)


def test_what_all_patches_share_is_removed() -> None:
    patches = torch.randn(2, 9, 5)
    torch.testing.assert_close(normalize_patches(3 * patches + 7), normalize_patches(patches), rtol=1e-4, atol=1e-4)
    assert normalize_patches(torch.ones(1, 9, 5)).abs().max() < 1


def test_biomedclip_teaches_by_the_same_key(tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    features = teacher_of(config_of(biomedclip(tmp_path), teacher="biomedclip"))(pictures)
    assert features.shape == (2, 192, 4, 4)
    assert features.std() > 0.5 * SCALE


@pytest.mark.skipif(not REAL.is_dir(), reason="the trained DINOv2 is not on this machine")
def test_a_trained_teacher_tells_where_the_square_is(pictures: NDArray[np.uint8]) -> None:
    features = teacher_of(config_of(REAL))(pictures).astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    square, other = unit[0, :, 0, 0], unit[1, :, 3, 3]
    elsewhere = np.delete(np.einsum("f,fp->p", square, unit[1].reshape(384, 16)), 15)
    assert square @ other > elsewhere.max() + 0.1


def test_another_network_or_grid_makes_other_latents_and_none_leaves_them(dinov2: Path, tmp_path: Path) -> None:
    assert teacher_content_hash(load_config(None, [])) == ""
    assert load_teacher(load_config(None, []), "cpu") is None
    hashes = {teacher_content_hash(config_of(dinov2)), teacher_content_hash(config_of(dinov2, "model.patch_size=4"))}
    other = extractor_weights.dinov2(tmp_path / "other", "vit_base_patch14_dinov2")
    assert len(hashes | {teacher_content_hash(config_of(other))}) == 3


def test_a_missing_folder_a_missing_package_and_a_tower_without_patches_are_told(
    dinov2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"alignment\.weights = .*no such directory"):
        teacher_content_hash(config_of(tmp_path / "nowhere"))
    (found,) = (one for one in check(config_of(tmp_path / "nowhere")) if one.check == "teacher")
    assert found.state == "failed"
    assert next(one for one in check(config_of(dinov2)) if one.check == "teacher").state == "ok"
    monkeypatch.setattr("vapray.pretrained.vision_tower_files.find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"alignment\.teacher = dinov2: timm is not installed"):
        load_teacher(config_of(dinov2), "cpu")


def test_the_forecast_counts_its_bytes_and_time(dinov2: Path) -> None:
    def outlook(config: Config) -> ForecastInputs:
        return ForecastInputs(config, Images({"train": 1000}, 2, 10_000), {"images": 1000})

    plain = forecast(outlook(config_of(dinov2, "alignment.kind=none", "alignment.weights=null")))
    taught = forecast(outlook(config_of(REAL if REAL.is_dir() else dinov2)))
    width = 384 if REAL.is_dir() else 768
    assert taught.part_bytes - plain.part_bytes == pytest.approx(2000 * width * 16)
    assert taught.work_seconds > plain.work_seconds
