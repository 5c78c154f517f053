"""DINOv2 by timm and BiomedCLIP's image tower by open_clip, from folders or the hub's cache.

DINOv2 resizes images to 224 pixels, antialiased bicubic, as for the FD of Stein et al. (arXiv 2306.04675); position
embeddings are interpolated from its training size. BiomedCLIP resizes images to its own side, antialiased bicubic. Both
normalize by the mean and standard deviation in the model's config.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vapray.config import Evaluate
from vapray.errors import CheckpointError, ConfigError, VaprayError
from vapray.evaluation.extractors.extractor import FeatureSpace, to_planes
from vapray.evaluation.extractors.network_extractor import (
    NetworkExtractor,
    load_weights,
    normalize,
    require_device,
    sha256_with,
)
from vapray.evaluation.extractors.weight_files import find_weights, model_folder, require_packages
from vapray.pretrained.model_files import read_json_object
from vapray.pretrained.weights_file import read_weights

__all__ = ["biomedclip", "dinov2"]

DINOV2_SIDE = 224
CLIP_MEAN, CLIP_DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""OpenAI's values, which open_clip uses if a config has none."""
TINY_TEXT_TOWER = {"context_length": 1, "vocab_size": 1, "width": 64, "heads": 1, "layers": 1}
"""Smallest text tower: open_clip builds both towers, and this one is discarded."""


def dinov2(settings: Evaluate, device: str = "cpu") -> NetworkExtractor:
    """Build the extractor of DINOv2's class token after the last normalization; any model size.

    Raises:
        ConfigError: the directory or files in it are missing, or the model is another one.
        CheckpointError: timm cannot load the model.
        BackendError: timm is not installed, the model is not available, or the device is missing.
    """
    require_packages("dinov2")
    folder = model_folder(settings)
    architecture = str(read_json_object(folder / "config.json").get("architecture"))
    if "dinov2" not in architecture:
        raise ConfigError(
            f"evaluate.weights = {settings.weights}: architecture {architecture} is not DINOv2. Fix: give a folder of "
            "timm such as that of hf-hub:timm/vit_base_patch14_dinov2.lvd142m."
        )
    require_device(device)
    model = _timm_model(folder)
    known = model.pretrained_cfg
    network = model.eval().requires_grad_(False).to(device)
    return _extractor(network, f"DINOv2 ({architecture})", settings, (DINOV2_SIDE, known["mean"], known["std"]), device)


def biomedclip(settings: Evaluate, device: str = "cpu") -> NetworkExtractor:
    """Build the extractor of an open_clip model such as BiomedCLIP: image embedding after the projection, unnormalized.

    Raises:
        ConfigError: the directory or files in it are missing, or the weights do not match its config.
        CheckpointError: a file is damaged, or open_clip does not know the config.
        BackendError: open_clip is not installed, the model is not available, or the device is missing.
    """
    require_packages("biomedclip")
    config, path = find_weights(settings)
    card = read_json_object(config)
    seen = card.get("preprocess_cfg") or {}
    tower = _image_tower(card, config)
    weights = read_weights("evaluate.weights", path)
    visual = {name.removeprefix("visual."): w for name, w in weights.items() if name.startswith("visual.")}
    network = load_weights(tower, visual, f"evaluate.weights = {settings.weights}", device)
    side = int(card["model_cfg"]["vision_cfg"].get("image_size", 224))
    look = (side, tuple(seen.get("mean", CLIP_MEAN)), tuple(seen.get("std", CLIP_DEVIATION)))
    return _extractor(network, "BiomedCLIP image embedding", settings, look, device)


def _extractor(
    network: nn.Module,
    name: str,
    settings: Evaluate,
    look: tuple[int, tuple[float, ...], tuple[float, ...]],
    device: str,
) -> NetworkExtractor:
    side, mean, deviation = look

    def forward(pictures: Tensor) -> Tensor:
        features: Tensor = network(normalize(to_planes(pictures, side, "bicubic"), mean, deviation))
        return features

    with torch.inference_mode():
        width = forward(torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device)).shape[1]
    space = FeatureSpace(name, sha256_with(name, find_weights(settings)), width, side)
    return NetworkExtractor(space, forward, device)


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
