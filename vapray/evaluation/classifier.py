"""Small label classifier, trained on real images, to check the class of generated images.

It is not an Inception network: its Inception Score and label accuracy compare runs on one dataset only.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from torch.nn import functional

from vapray.errors import DataError
from vapray.latents.training_loop import fit

LABEL = "small classifier trained on real training images"
"""Description of the classifier, shown next to numbers that depend on it."""
FEATURES = 256
"""Width of the input of the last layer."""


def small_network(num_classes: int) -> nn.Sequential:
    """Build a network of three convolutions; an image of 32 pixels costs 2.6 million multiplications."""
    layers: list[nn.Module] = []
    for wide_in, wide_out, kernel, stride in ((3, 24, 5, 2), (24, 48, 3, 2), (48, 64, 3, 1)):
        layers += [
            nn.Conv2d(wide_in, wide_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(wide_out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(FEATURES, num_classes))


def image_planes(images: NDArray[np.uint8]) -> Tensor:
    """Convert RGB images uint8 [N, H, W, 3] to uint8 [N, 3, H, W]; DataError for another type or shape."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise DataError(f"images: expected uint8 [N, H, W, 3], got {images.dtype} {list(images.shape)}")
    return torch.tensor(images).permute(0, 3, 1, 2)


def scaled(planes: Tensor, device: str) -> Tensor:
    """Copy uint8 planes to a device as float32 in -1..1."""
    return planes.to(device).float().div_(127.5).sub_(1.0)


@dataclass(frozen=True)
class Classifier:
    """Trained network with its image size."""

    network: nn.Module
    num_classes: int
    image_size: tuple[int, int]
    """Height and width in pixels; images of another size are refused, not resized."""
    device: str = "cpu"

    def to_safetensors(self) -> bytes:
        """Serialize the weights, for :func:`read_classifier`."""
        return save_safetensors({name: weight.cpu().contiguous() for name, weight in self.network.state_dict().items()})

    def probabilities(self, images: NDArray[np.uint8], *, batch_images: int = 256) -> NDArray[np.float64]:
        """Predict class probabilities [N, K] of RGB images uint8 [N, H, W, 3]; rows sum to 1.

        Raises:
            DataError: type or size differ from training.
        """
        return self._passed(self.network, images, batch_images).double().softmax(dim=1).numpy()

    def features(self, images: NDArray[np.uint8], *, batch_images: int = 256) -> NDArray[np.float32]:
        """Compute the input of the last layer, float32 [N, 256], for RGB images uint8 [N, H, W, 3].

        Raises:
            DataError: type or size differ from training.
        """
        layers = nn.Sequential(*list(self.network.children())[:-1])
        return self._passed(layers, images, batch_images).numpy()

    def _passed(self, layers: nn.Module, images: NDArray[np.uint8], batch_images: int) -> Tensor:
        planes = image_planes(images)
        if tuple(planes.shape[-2:]) != self.image_size:
            raise DataError(f"classifier trained at {self.image_size} pixels, got {tuple(planes.shape[-2:])}")
        with torch.no_grad():
            return torch.cat([layers(scaled(part, self.device)).cpu() for part in planes.split(batch_images)])


def read_classifier(data: bytes, num_classes: int, image_size: tuple[int, int]) -> Classifier:
    """Load a classifier that ``to_safetensors`` wrote.

    Raises:
        DataError: the data is damaged or has another number of classes.
    """
    network = small_network(num_classes)
    try:
        network.load_state_dict(load_safetensors(data))
    except Exception as error:  # safetensors and torch raise various classes
        raise DataError(f"not a classifier of {num_classes} classes: {str(error).splitlines()[0]}") from None
    return Classifier(network.eval().requires_grad_(False), num_classes, image_size)


def _balanced_rows(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw rows so that every class present is equally likely, which removes the prior of long-tailed classes."""
    share = 1.0 / torch.bincount(labels).clamp(min=1)[labels].double()
    return torch.multinomial(share, count, replacement=True, generator=generator)


def _flipped(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image left-right and top-bottom, each with probability one half."""
    for axis in (2, 3):
        chosen = torch.rand(len(planes), generator=generator) < 0.5
        planes = torch.where(chosen[:, None, None, None], planes.flip(axis), planes)
    return planes


def train_classifier(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    num_classes: int,
    *,
    seed: int = 0,
    steps: int = 300,
    batch_images: int = 48,
    device: str = "cpu",
) -> Classifier:
    """Train on real training images; deterministic by seed, and torch's global random state is restored.

    Args:
        images: RGB images uint8 [N, H, W, 3] at the generator's size, at least 8 pixels a side.
        labels: Class indices [N] in 0..num_classes-1.
        num_classes: Number of classes K.
        seed: Seed of weights, order and flips.
        steps: Number of optimizer steps, with a one-cycle learning rate.
        batch_images: Images per step, drawn balanced over classes.
        device: Torch device name.

    Raises:
        DataError: lengths differ, a label is out of range, or there are no images.
    """
    planes, targets = image_planes(images), torch.tensor(np.asarray(labels, dtype=np.int64))
    if len(planes) == 0 or targets.shape != (len(planes),):
        raise DataError(f"classifier: {len(planes)} images and labels of shape {list(targets.shape)}")
    if int(targets.min()) < 0 or int(targets.max()) >= num_classes:
        raise DataError(f"classifier: expected labels in 0..{num_classes - 1}, got {sorted(set(targets.tolist()))}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = small_network(num_classes).to(device)
    _fit(network, planes, targets, torch.Generator().manual_seed(seed), steps, batch_images, device)
    return Classifier(network.eval(), num_classes, (planes.shape[2], planes.shape[3]), device)


def _fit(
    network: nn.Module,
    planes: Tensor,
    targets: Tensor,
    generator: torch.Generator,
    steps: int,
    batch_images: int,
    device: str,
) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)

    def loss() -> Tensor:
        rows = _balanced_rows(targets, batch_images, generator)
        logits = network(scaled(_flipped(planes[rows], generator), device))
        return functional.cross_entropy(logits, targets[rows].to(device), label_smoothing=0.05)

    fit(optimizer, schedule, (loss() for _ in range(steps)))


def class_accuracies(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> dict[int, float]:
    """Accuracy of each class in ``labels`` [N]: share of its images with the largest of ``probabilities`` [N, K] at it.

    Raises:
        DataError: lengths differ, or there are no images.
    """
    if len(probabilities) != len(labels) or len(labels) == 0:
        raise DataError(f"accuracy: {len(probabilities)} predictions for {len(labels)} labels")
    right = probabilities.argmax(axis=1) == labels
    return {int(label): float(right[labels == label].mean()) for label in np.unique(labels)}


def balanced_accuracy(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Mean of ``class_accuracies``: chance is 1 / K for any class sizes."""
    return float(np.mean(list(class_accuracies(probabilities, labels).values())))
