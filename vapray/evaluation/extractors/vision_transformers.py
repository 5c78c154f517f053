"""DINOv2 and BiomedCLIP's image tower as feature extractors.

DINOv2 gives its class token after the last normalization and resizes images to 224 pixels, antialiased bicubic, as for
the FD of Stein et al. (arXiv 2306.04675); position embeddings are resampled from its training size as in its authors'
code. BiomedCLIP gives the image embedding after the projection, unnormalized, and resizes images to its own side,
antialiased bicubic. Both normalize by the mean and standard deviation in the model's config.
"""

import torch
from torch import Tensor

from vapray.config import Evaluate
from vapray.evaluation.extractors.extractor import FeatureSpace, to_planes
from vapray.evaluation.extractors.network_extractor import NetworkExtractor, sha256_with
from vapray.evaluation.extractors.weight_files import DESCRIPTIONS, tower_files
from vapray.pretrained.dinov2_positions import set_positions
from vapray.pretrained.vision_towers import load_vision_tower

__all__ = ["vision_transformer"]


def vision_transformer(settings: Evaluate, device: str = "cpu") -> NetworkExtractor:
    """Build the extractor of a DINOv2 of any size, or of an open_clip model such as BiomedCLIP.

    Raises:
        ConfigError: the directory or files in it are missing, or the model is another one.
        CheckpointError: the library cannot load the model.
        BackendError: the library is not installed, the model is not available, or the device is missing.
    """
    files = tower_files(settings)
    tower = load_vision_tower(files, device)
    if files.kind == "dinov2":
        set_positions(tower.network, files.paths()[1])

    def forward(pictures: Tensor) -> Tensor:
        features: Tensor = tower.network(tower.normalize(to_planes(pictures, tower.side, "bicubic")))
        return features

    with torch.inference_mode():
        width = forward(torch.zeros(1, 3, tower.side, tower.side, dtype=torch.uint8, device=device)).shape[1]
    digest = sha256_with(f"{tower.name}{DESCRIPTIONS[files.kind]}", files.paths())
    space = FeatureSpace(tower.name, digest, width, tower.side)
    return NetworkExtractor(space, forward, device)
