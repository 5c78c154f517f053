"""Random weights in the file layouts of trained feature extractors, as small as the layouts allow."""

import io
import json
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from vapray.config import Evaluate
from vapray.evaluation.features import FeatureExtractor, build_extractor


def inception(path: Path) -> Path:
    """torch-fidelity's file of Inception-v3; nothing but its weights can be made smaller."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    torch.manual_seed(0)
    with mock.patch.object(nn.Module, "load_state_dict"):
        network = FeatureExtractorInceptionV3("random", ["2048"], empty)
    # At their first scale activations fade away over the layers.
    weights = {name: 1.7 * w if w.ndim == 4 else w for name, w in network.state_dict().items()}
    torch.save(weights, path)
    return path


def vgg16(path: Path) -> Path:
    """torchvision's; the largest layer is one row repeated, which torch keeps once."""
    import torchvision

    with torch.device("meta"):
        shapes = torchvision.models.vgg16(weights=None, init_weights=False).state_dict()
    torch.manual_seed(0)
    drawn = {name: torch.rand(w.shape if w.numel() < 1e8 else (1, w.shape[1])) for name, w in shapes.items()}
    scaled = {name: 3 * (w - 0.5) / w[0].numel() ** 0.5 if w.ndim > 1 else 0.1 * w for name, w in drawn.items()}
    torch.save({name: w.expand(shapes[name].shape) for name, w in scaled.items()}, path)
    return path


def squeezenet(path: Path, version: str) -> Path:
    """torchvision's, whole; ``version`` is 1_0 or 1_1."""
    import torchvision

    torch.manual_seed(0)
    torch.save(getattr(torchvision.models, f"squeezenet{version}")(weights=None).state_dict(), path)
    return path


def dinov2(folder: Path, architecture: str = "vit_small_patch14_dinov2") -> Path:
    """A narrow one of a single block as timm keeps it."""
    import timm
    from safetensors.torch import save_file

    folder.mkdir()
    sizes = {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": 56}
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=0, **sizes)
    look = {"input_size": [3, 56, 56], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "num_classes": 0}
    card = {"architecture": architecture, "num_classes": 0, "model_args": sizes, "pretrained_cfg": look}
    (folder / "config.json").write_text(json.dumps(card))
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder


def asked(features: str, path: Path | None = None, **more: Any) -> FeatureExtractor:
    """The extractor of these settings."""
    settings = {"features": features, "weights": str(path) if path else None, **more}
    return build_extractor(Evaluate.model_validate(settings))
