"""DINOv2 by timm and BiomedCLIP's image tower by open_clip, as networks in evaluation mode."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vapray.errors import CheckpointError, ConfigError, VaprayError
from vapray.pretrained.model_files import read_json_object
from vapray.pretrained.network_weights import fill_network, require_device
from vapray.pretrained.vision_tower_files import VISION_PACKAGES, VisionTowerFiles, require_package
from vapray.pretrained.weights_file import read_weights

__all__ = ["VisionTower", "load_vision_tower", "normalize"]

DINOV2_SIDE = 224
"""Side of the images of the FD of Stein et al. (arXiv 2306.04675)."""
CLIP_MEAN, CLIP_DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""OpenAI's values, which open_clip uses if a config has none."""
TINY_TEXT_TOWER = {"context_length": 1, "vocab_size": 1, "width": 64, "heads": 1, "layers": 1}
"""Smallest text tower: open_clip builds both towers, and this one is discarded."""


@dataclass(frozen=True)
class VisionTower:
    """Network over images, and how it expects them.

    Attributes:
        network: Maps normalized planes [B, 3, side, side] to pooled features [B, F]; without gradients.
        name: Name of the model and of its pooled features.
        side: Side of its images, in pixels.
        mean: Mean of red, green and blue in 0..1, subtracted first.
        deviation: Standard deviation of the same, by which it divides.
    """

    network: nn.Module
    name: str
    side: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def normalize(self, planes_B3HW: Tensor) -> Tensor:
        """Normalize planes in -1..1 by the model's mean and standard deviation."""
        return normalize(planes_B3HW, self.mean, self.deviation)


def normalize(planes_B3HW: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """Normalize planes in -1..1 by the mean and standard deviation of a network's training data in 0..1."""
    shift = planes_B3HW.new_tensor(mean).view(3, 1, 1)
    return ((planes_B3HW + 1) / 2 - shift) / planes_B3HW.new_tensor(deviation).view(3, 1, 1)


def load_vision_tower(files: VisionTowerFiles, device: str = "cpu") -> VisionTower:
    """Load a network.

    Raises:
        ConfigError: files are missing, the model is another one, or the weights do not match its config.
        CheckpointError: a file is damaged, or the library does not know the config.
        BackendError: the library is not installed, the model is not available, or the device is missing.
    """
    require_package(files.kind_setting, files.kind, VISION_PACKAGES[files.kind])
    return (_dinov2 if files.kind == "dinov2" else _open_clip)(files, device)


def _dinov2(files: VisionTowerFiles, device: str) -> VisionTower:
    folder = files.folder()
    architecture = str(read_json_object(folder / "config.json").get("architecture"))
    if "dinov2" not in architecture:
        raise ConfigError(
            f"{files.setting} = {files.model}: architecture {architecture} is not DINOv2. Fix: give a folder of "
            "timm such as that of hf-hub:timm/vit_base_patch14_dinov2.lvd142m."
        )
    require_device(device)
    model = _timm_model(folder)
    known = model.pretrained_cfg
    network = model.eval().requires_grad_(False).to(device)
    return VisionTower(network, f"DINOv2 ({architecture})", DINOV2_SIDE, tuple(known["mean"]), tuple(known["std"]))


def _open_clip(files: VisionTowerFiles, device: str) -> VisionTower:
    config, path = files.paths()
    card = read_json_object(config)
    seen = card.get("preprocess_cfg") or {}
    tower = _image_tower(card, config)
    weights = read_weights(files.setting, path)
    visual = {name.removeprefix("visual."): w for name, w in weights.items() if name.startswith("visual.")}
    network = fill_network(tower, visual, f"{files.setting} = {files.model}", files.kind_setting, device)
    side = int(card["model_cfg"]["vision_cfg"].get("image_size", 224))
    mean, deviation = tuple(seen.get("mean", CLIP_MEAN)), tuple(seen.get("std", CLIP_DEVIATION))
    return VisionTower(network, "BiomedCLIP image embedding", side, mean, deviation)


def _timm_model(folder: Path) -> Any:
    import timm

    try:
        return timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0, img_size=DINOV2_SIDE)
    except (VaprayError, MemoryError):
        raise
    except Exception as error:  # timm raises various classes for damaged files
        raise CheckpointError(_unloadable(folder, "timm", error)) from error


def _image_tower(card: dict[str, object], path: Path) -> nn.Module:
    import open_clip

    try:
        model = card["model_cfg"]
        assert isinstance(model, dict)
        vision = {**model["vision_cfg"], "timm_model_pretrained": False}
        tower: nn.Module = open_clip.CLIP(model["embed_dim"], vision, TINY_TEXT_TOWER).visual
    except Exception as error:  # open_clip raises various classes for an unknown config
        raise CheckpointError(_unloadable(path, "open_clip", error)) from error
    return tower


def _unloadable(path: Path, package: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return f"{path}: cannot be loaded by {package} ({reason}). Fix: copy or download the model again."
