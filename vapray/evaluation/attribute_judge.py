"""Small network that recognizes the attributes of phantoms: a second judge of caption adherence.

Captions of dermoscopic phantoms are worded and checked by one image analysis, whose errors they share. This judge
learns from what was drawn, on the training images, and judges every modality of phantoms.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from torch.nn import functional

from vapray.captioning.attributes import Attribute, Attributes
from vapray.captioning.prompt_set import AttributeSpec, PromptSet
from vapray.errors import DataError
from vapray.evaluation.classifier import image_planes, scaled
from vapray.latents.training_loop import fit
from vapray.models.precision import matrix_products
from vapray.training.muon import Muon, MuonAdamW

__all__ = ["AttributeJudge", "Specs", "judged_attributes", "read_judge", "train_judge"]

WIDTHS, STRIDES = (32, 64, 64, 128, 128), (1, 2, 1, 2, 1)
GRID = 4
"""Side of the grid of averages before the last layer, which keeps locations."""
SHIFT = 2
"""Largest shift of a training image, in pixels."""
SHARE_SCALE = 0.1
"""Difference of shares at which the loss turns from quadratic to linear."""
LEARNING_RATE, MUON_LEARNING_RATE, WEIGHT_DECAY = 3e-3, 2e-2, 1e-2
WARM_UP, CONSTANT = 0.15, 0.3
"""Share of the steps of the warm-up, and share after which the learning rate falls to zero."""
Specs = Mapping[str, AttributeSpec]


def _outputs(spec: AttributeSpec) -> int:
    return 1 if spec.kind == "share" else len(spec.values)


def judge_network(specs: Specs) -> nn.Sequential:
    """Build five convolutions, the first at full resolution for the sake of textures, and a linear layer."""
    layers: list[nn.Module] = []
    for wide_in, wide_out, stride in zip((3, *WIDTHS), WIDTHS, STRIDES, strict=False):
        layers += [nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False), nn.BatchNorm2d(wide_out), nn.ReLU()]
    head = nn.Linear(WIDTHS[-1] * GRID**2, sum(_outputs(spec) for spec in specs.values()))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), nn.Dropout(0.3), head)


@dataclass(frozen=True)
class AttributeJudge:
    """Trained network with the attributes that it recognizes."""

    network: nn.Module
    specs: Specs
    device: str = "cpu"

    def to_safetensors(self) -> bytes:
        """Serialize the weights, for :func:`read_judge`."""
        return save_safetensors({name: weight.cpu().contiguous() for name, weight in self.network.state_dict().items()})

    def attributes(self, images: NDArray[np.uint8], *, batch_images: int = 256) -> list[Attributes]:
        """Recognize all attributes of RGB images uint8 [N, H, W, 3] of the training images' size."""
        parts = image_planes(images).split(batch_images)
        with torch.no_grad():
            found = torch.cat([self.network(scaled(part, self.device)).cpu() for part in parts])
        return [dict(_read(row, self.specs)) for row in found]


def _read(outputs: Tensor, specs: Specs) -> Iterator[tuple[str, Attribute]]:
    """Turn the outputs for one image into values; a set holds at least its most likely member."""
    parts = outputs.split([_outputs(spec) for spec in specs.values()])
    for (name, spec), logits in zip(specs.items(), parts, strict=True):
        best = spec.values[int(logits.argmax())]
        if spec.kind == "share":
            yield name, float(logits.sigmoid())
        elif spec.kind == "set":
            members = {value for value, logit in zip(spec.values, logits.tolist(), strict=True) if logit > 0}
            yield name, tuple(sorted(members or {best}))
        else:
            yield name, best


def judged_attributes(prompt_set: PromptSet, truths: Sequence[Attributes]) -> dict[str, AttributeSpec]:
    """Select the attributes of a prompt set that are known of all images, with values that it lists."""
    return {
        name: spec
        for name, spec in prompt_set.attributes.items()
        if all(name in known and _is_listed(known[name], spec) for known in truths)
    }


def _is_listed(value: Attribute, spec: AttributeSpec) -> bool:
    if isinstance(value, float):
        return spec.kind == "share"
    return {value} <= set(spec.values) if isinstance(value, str) else set(value) <= set(spec.values)


def read_judge(data: bytes, specs: Specs) -> AttributeJudge:
    """Load a judge that ``to_safetensors`` wrote.

    Raises:
        DataError: the data is damaged or of other attributes.
    """
    network = judge_network(specs)
    try:
        network.load_state_dict(load_safetensors(data))
    except Exception as error:  # safetensors and torch raise various classes
        raise DataError(f"not a judge of {', '.join(specs)}: {str(error).splitlines()[0]}") from None
    return AttributeJudge(network.eval().requires_grad_(False), specs)


def train_judge(
    images: NDArray[np.uint8],
    truths: Sequence[Attributes],
    specs: Specs,
    *,
    upright: bool,
    seed: int = 0,
    steps: int = 500,
    batch_images: int = 64,
    device: str = "cpu",
) -> AttributeJudge:
    """Train on training images; deterministic by seed, and torch's global random state is restored.

    Args:
        images: RGB images uint8 [N, H, W, 3], at least 8 pixels a side.
        truths: What was drawn, for each image; holds every attribute of ``specs``.
        specs: Attributes to recognize.
        upright: True if images may not be turned or mirrored.
        seed: Seed of weights, order and augmentation.
        steps: Number of optimizer steps.
        batch_images: Images per step, drawn with replacement.
        device: Torch device name.

    Raises:
        DataError: no attributes, no images, or lengths differ.
    """
    if not specs:
        raise DataError(
            "judge: no attribute of the prompt set was drawn with the values that it lists. "
            "Fix: set evaluate.judge_steps=0, or caption.prompt_set to that of the modality."
        )
    planes = image_planes(images)
    if len(planes) == 0 or len(truths) != len(planes):
        raise DataError(f"judge: {len(planes)} images and {len(truths)} sets of attributes")
    targets = torch.tensor([[value for name in specs for value in _target(specs[name], one[name])] for one in truths])
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = judge_network(specs).to(device)
        optimizer = _optimizer(network)

        def loss(step: int) -> Tensor:
            _set_learning_rate(optimizer, step, steps)
            rows = torch.randint(len(planes), (batch_images,), generator=generator)
            views = _augmented(scaled(planes[rows], "cpu"), generator, upright).to(device)
            with matrix_products("bfloat16", torch.device(device)):
                outputs = network(views.contiguous(memory_format=torch.channels_last))
            return _loss(outputs.float(), targets[rows].to(device), specs)

        fit(optimizer, None, (loss(step) for step in range(steps)))
    return AttributeJudge(network.eval().requires_grad_(False), specs, device)


def _target(spec: AttributeSpec, value: Attribute) -> list[float]:
    if spec.kind == "share":
        return [float(value)]  # type: ignore[arg-type]
    return [float(one in value if isinstance(value, tuple) else one == value) for one in spec.values]


def _loss(outputs: Tensor, targets: Tensor, specs: Specs) -> Tensor:
    """Mean over attributes: cross-entropy of choices, binary cross-entropy of sets, smooth L1 of shares."""
    sizes = [_outputs(spec) for spec in specs.values()]
    total = outputs.new_zeros(())
    for spec, found, wanted in zip(specs.values(), outputs.split(sizes, 1), targets.split(sizes, 1), strict=True):
        if spec.kind == "share":
            total = total + functional.smooth_l1_loss(found.sigmoid() / SHARE_SCALE, wanted / SHARE_SCALE)
        elif spec.kind == "set":
            total = total + functional.binary_cross_entropy_with_logits(found, wanted)
        else:
            total = total + functional.cross_entropy(found, wanted, label_smoothing=0.05)
    return total / len(sizes)


def _augmented(images: Tensor, generator: torch.Generator, upright: bool) -> Tensor:
    """Mirror and rotate each image at random unless it is upright, and shift the batch by up to ``SHIFT`` pixels."""
    if not upright:
        angle = torch.rand(len(images), generator=generator) * 2 * math.pi
        side = torch.where(torch.rand(len(images), generator=generator) < 0.5, -1.0, 1.0)
        cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        rotations = torch.stack([side * cosine, -sine, zero, side * sine, cosine, zero], dim=1).view(-1, 2, 3)
        places = functional.affine_grid(rotations, list(images.shape), align_corners=False)
        images = functional.grid_sample(images, places, padding_mode="reflection", align_corners=False)
    x, y = torch.randint(2 * SHIFT + 1, (2,), generator=generator).tolist()
    padded = functional.pad(images, (SHIFT,) * 4, mode="replicate")
    return padded[:, :, y : y + images.shape[2], x : x + images.shape[3]]


def _optimizer(network: nn.Sequential) -> MuonAdamW:
    """Muon for all convolutions but the first, AdamW for the rest."""
    named = dict(network.named_parameters())
    matrices = {name: weight for name, weight in named.items() if weight.ndim == 4 and weight.shape[1] > 3}
    rest = [weight for name, weight in named.items() if name not in matrices]
    return MuonAdamW(Muon(matrices, lr=0.0), torch.optim.AdamW(rest, lr=0.0, weight_decay=WEIGHT_DECAY))


def _set_learning_rate(optimizer: MuonAdamW, step: int, steps: int) -> None:
    done = (step + 1) / steps
    factor = min(1.0, done / WARM_UP, (1 - step / steps) / (1 - CONSTANT))
    for part, peak in ((optimizer.adamw, LEARNING_RATE), (optimizer.muon, MUON_LEARNING_RATE)):
        for group in part.param_groups:
            group["lr"] = peak * factor
