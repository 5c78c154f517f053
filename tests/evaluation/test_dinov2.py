"""DINOv2 as its authors run it: right values were made with facebookresearch/dinov2 at b8931f7, in float32."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.evaluation.extractor_weights import asked, dinov2
from tests.evaluation.pictures import scenes
from vapray.config.loader import load_config
from vapray.evaluation.extractors.weight_files import features_content_hash
from vapray.pretrained.dinov2_positions import resample_positions, set_positions

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights" / "dinov2-s"

RESAMPLED = {
    2: [8.97869873, 25.0551548, 125.211380, 176.199432],
    3: [3.59699297, 9.35986996, 19.0878677, 45.9500732, 66.1144409, 90.2025299, 151.888336, 186.412796, 224.819733],
    4: [number**2 for number in range(1, 17)],
    6: [-1.32632411, -0.408480465, 1.77249050, 4.13052654, 8.69682312, 12.1543646, 6.94282722],
}
"""First patches of the squares 1, 4, 9, ... 256 on a grid of 4 x 4, by the grid that they are resampled to."""


@pytest.mark.parametrize(("grid", "wanted"), RESAMPLED.items())
def test_positions_are_resampled_as_by_the_authors(grid: int, wanted: list[float]) -> None:
    resampled = resample_positions(torch.arange(17.0).square().view(1, 17, 1), grid)
    assert resampled.shape == (1, 1 + grid * grid, 1)
    assert resampled[0, 0] == 0
    np.testing.assert_allclose(resampled[0, 1 : 1 + len(wanted), 0], wanted, rtol=1e-5)


def test_registers_keep_timm_s_positions(tmp_path: Path) -> None:
    import timm

    folder = dinov2(tmp_path / "dinov2", "vit_small_patch14_reg4_dinov2")
    network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0, img_size=224)
    before = network.pos_embed.clone()
    set_positions(network, folder / "model.safetensors")
    assert torch.equal(network.pos_embed, before)


def test_the_use_of_the_files_is_a_part_of_what_identifies_features(tmp_path: Path) -> None:
    folder = dinov2(tmp_path / "dinov2")
    config = load_config(None, ["evaluate.features=dinov2", f"evaluate.weights={folder}"])
    assert features_content_hash(config).endswith(", positions as published")


@pytest.mark.skipif(not REAL.is_dir(), reason="the trained DINOv2 is not on this machine")
def test_the_trained_network_gives_the_features_of_its_authors_code() -> None:
    extractor = asked("dinov2", REAL)
    features = extractor(scenes(2, 0)[0])
    assert (extractor.space.width, extractor.space.resize) == (384, 224)
    wanted = [[-3.9260, 0.9056, 1.3643, 0.3692, -0.6860], [-3.6381, 1.4658, -0.0508, -0.0278, -1.9961]]
    np.testing.assert_allclose(features[:, :5], wanted, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), [49.1773, 48.9737], rtol=1e-4)
