"""LPIPS from files, against torchmetrics' own with the same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from tests.bad_inputs.refusal import CHECKPOINT, CONFIG, refused
from vapray.config.network import Autoencoder
from vapray.data.frames import read_frames
from vapray.latents.perceptual import PerceptualDistance
from vapray.latents.perceptual_opening import open_perceptual
from vapray.latents.pictures import to_unit_range

from .discs import draw_discs

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


def torchmetrics_distance(net: str) -> torch.nn.Module:
    """Random backbone, published heads: both are in the package."""
    from torchmetrics.functional.image.lpips import _LPIPS

    torch.manual_seed(0)
    return _LPIPS(pretrained=True, net=net, pnet_rand=True)


def torchvision_weights(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of its sliced network under torchvision's names."""
    named = ((name.split(".", 1)[1] if "slices" not in name else name.split(".", 2)[2], w) for name, w in
             net.net.state_dict().items())  # fmt: skip
    return {f"features.{name}": weights for name, weights in named}


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_it_is_torchmetrics_lpips(net: str, tmp_path: Path) -> None:
    theirs = torchmetrics_distance(net)
    torch.save(torchvision_weights(theirs), tmp_path / "backbone.pth")
    heads = {f"lin{number}.model.1.weight": head.model[-1].weight.data for number, head in enumerate(theirs.lins)}
    torch.save(heads, tmp_path / "heads.pth")
    settings = Autoencoder(lpips_backbone=str(tmp_path / "backbone.pth"), lpips_heads=str(tmp_path / "heads.pth"))
    ours = open_perceptual(settings)
    assert ours is not None and ours.name.startswith("LPIPS 0.1")
    first, second = (to_unit_range(draw_discs(3, side=64, seed=seed)) for seed in (0, 1))
    with torch.no_grad():
        assert torch.allclose(ours(first, second), theirs(first, second).flatten(), rtol=1e-4)
        assert (ours(first, first) == 0).all()


def real_squeezenet() -> PerceptualDistance:
    path = REAL / "weights" / "squeezenet1_0_deepcompression_caffe_imagenet.pth"
    if not path.is_file():
        pytest.skip(f"no weights of SqueezeNet in {path.parent}")
    distance = open_perceptual(Autoencoder(lpips_backbone=str(path), lpips_pixels="caffe"))
    assert distance is not None
    return distance


def test_without_heads_real_features_order_distortions_and_are_not_called_lpips() -> None:
    distance = real_squeezenet()
    assert distance.name == "uncalibrated distance (squeezenet1_0)"
    images, kept, _ = read_frames([str(path) for path in sorted((REAL / "derm").rglob("*.jpg"))[::1500]], 64)
    assert len(kept) >= 4
    noise = np.random.default_rng(0).normal(0, 1, images.shape)
    noisy = [np.clip(images + strength * noise, 0, 255).astype(np.uint8) for strength in (5, 20)]
    values = [distance.between(other, images) for other in (images, *noisy, images[::-1])]
    assert values == sorted(values)
    assert values[0] == 0 < values[1]


def test_the_heads_of_another_network_are_refused() -> None:
    weights = REAL / "weights"
    if not (weights / "lpips_v0.1").is_dir():
        pytest.skip(f"no heads of LPIPS in {weights}")
    settings = Autoencoder(
        lpips_backbone=str(weights / "squeezenet1_0_deepcompression_caffe_imagenet.pth"),
        lpips_heads=str(weights / "lpips_v0.1" / "squeeze.pth"),
    )
    refused(CONFIG, lambda: open_perceptual(settings), "[64, 128", "squeezenet1_0", "[96, 128", "belong together")


def test_files_that_are_no_known_network_are_refused(tmp_path: Path) -> None:
    backbone = tmp_path / "backbone.pth"
    opening = lambda: open_perceptual(Autoencoder(lpips_backbone=str(backbone)))  # noqa: E731
    refused(CONFIG, opening, f"autoencoder.lpips_backbone = {backbone}: no such file")
    torch.save(torchvision.models.mobilenet_v2().state_dict(), backbone)
    refused(CONFIG, opening, "torchvision's alexnet, vgg16, squeezenet1_1, squeezenet1_0")
    backbone.write_bytes(b"<html>")
    refused(CHECKPOINT, opening, "cannot be read as weights", "copy the file again")
    assert open_perceptual(Autoencoder()) is None
