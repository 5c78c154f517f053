"""Frozen teacher of representation alignment: patch features of images at the grid of the U-ViT's patches.

The images of the run's own side are resized, antialiased bicubic, so that the teacher's patches are the U-ViT's. Every
feature is normalized over the patches of its image (spatial normalization, iREPA, arXiv 2512.10794): the mean of all
patches is nearly the same vector for every lesion, and hides the layout. Features are stored as int8, 1/32 a unit,
clipped at 4 standard deviations.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vapray.config import Config
from vapray.errors import ConfigError
from vapray.latents.image_tensors import to_model_range
from vapray.latents.teacher_files import teacher_files
from vapray.pretrained.vision_tower_files import VisionTowerFiles
from vapray.pretrained.vision_towers import load_vision_tower

__all__ = ["SCALE", "Teacher", "load_teacher", "normalize_patches"]

SCALE = 32
"""Stored value of a feature of 1 standard deviation."""
IMAGES_OF_A_BATCH = 16


class Teacher:
    """Teacher at one grid.

    Args:
        files: Files of the network.
        grid: Number of patches along a side of the U-ViT's grid.
        device: Torch device name.

    Raises:
        ConfigError, CheckpointError, BackendError: as :func:`vapray.pretrained.vision_towers.load_vision_tower`; and a
            ConfigError for an image tower that is not a vision transformer of timm.
    """

    def __init__(self, files: VisionTowerFiles, grid: int, device: str = "cpu") -> None:
        self._tower, self._device, self._grid = load_vision_tower(files, device), device, grid
        network: Any = self._tower.network
        self._transformer: Any = getattr(network, "trunk", network)
        if not hasattr(self._transformer, "forward_features") or not hasattr(self._transformer, "set_input_size"):
            name = type(self._transformer).__name__
            raise ConfigError(
                f"{files.setting} = {files.model}: {name} gives no patch features. Fix: give BiomedCLIP, or another "
                "model whose image tower is a vision transformer of timm."
            )
        (patch, _) = self._transformer.patch_embed.patch_size
        self._side = patch * grid
        self._transformer.set_input_size(img_size=(self._side, self._side))

    @torch.inference_mode()
    def __call__(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.int8]:
        """Compute features int8 [B, F, grid, grid] of images uint8 [B, H, W, 3]."""
        parts = [self._features(batch) for batch in to_model_range(images_BHWC).split(IMAGES_OF_A_BATCH)]
        return torch.cat(parts).numpy()

    def _features(self, planes: Tensor) -> Tensor:
        side = (self._side, self._side)
        resized = functional.interpolate(planes.to(self._device), size=side, mode="bicubic", antialias=True)
        tokens = self._transformer.forward_features(self._tower.normalize(resized.clamp(-1, 1)))
        patches = tokens[:, self._transformer.num_prefix_tokens :].float()
        normed = normalize_patches(patches).mul(SCALE).round().clamp(-4 * SCALE + 1, 4 * SCALE - 1)
        return normed.to(torch.int8).transpose(1, 2).unflatten(2, (self._grid, self._grid)).cpu()


def normalize_patches(patches_BPF: Tensor) -> Tensor:
    """Normalize each feature over the patches of its image: mean 0 and standard deviation 1."""
    deviation, mean = torch.std_mean(patches_BPF, dim=1, keepdim=True)
    return (patches_BPF - mean) / (deviation + 1e-6)


def load_teacher(config: Config, device: str) -> Teacher | None:
    """Load the teacher that the settings name; None if they name none."""
    if config.alignment.kind != "teacher":
        return None
    return Teacher(teacher_files(config), config.patch_grid, device)
