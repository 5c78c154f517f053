"""Images a second of the step-level engine, beside the authors' released code at as many network evaluations.

    python -m tests.benchmarks.sampling [--reference PATH] [--images 16] [--evaluations 50] [--repetitions 3]

Every image has guidance, so an evaluation is two network rows. Captions have 60 to 120 tokens of 768 values; latents
are 4x32x32 in patches of 2. Weights are random, of the same sizes in each way. Decoder and text encoder are left out.
The ways take turns, and medians are taken.

float32    ours, and so is all below: 2M multistep, captions padded to 128, both halves of guidance in one call
apart      unconditional rows in calls of their own (sample.split_unconditional)
bfloat16   as apart, with matrix products in bfloat16 (sample.precision); what the config asks for on a machine that
           has units for it. ``vs_reference`` is this way, ``float32_vs_reference`` the one before it.
released   the authors' code with --reference: third order in single steps, every caption padded to 256 tokens, the
           halves one after the other
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.released import TEXT_TOKENS, ReleasedSampling
from tests.benchmarks.table import report
from vapray.diffusion.engine import SamplingEngine
from vapray.diffusion.guidance import Guidance
from vapray.diffusion.image_request import ConditioningSpec, ImageRequest
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.parameterization import Parameterization
from vapray.models.network_config import UViTConfig
from vapray.models.precision import Precision
from vapray.models.prototypes import OURS
from vapray.models.uvit import UViT, build_uvit

CLASSES, SIDE, CHANNELS, CONTEXT_WIDTH, SHORTEST, LONGEST = 7, 32, 4, 768, 60, 120


def images(count: int, evaluations: int, seed: int) -> list[ImageRequest]:
    """With captions of their own."""
    draw = np.random.default_rng(seed)
    return [
        ImageRequest(
            seed=number,
            label=int(draw.integers(CLASSES)),
            context_LD=torch.from_numpy(
                draw.standard_normal((draw.integers(SHORTEST, LONGEST + 1), CONTEXT_WIDTH), dtype=np.float32)
            ),
            num_inference_steps=evaluations,
            guidance=Guidance(1.0),
        )
        for number in range(count)
    ]


def ours(
    network: UViT, device: torch.device, rows: int, *, apart: bool, precision: Precision
) -> tuple[SamplingEngine, Callable[[Sequence[ImageRequest]], None]]:
    """An engine, and what runs it."""
    conditions = ConditioningSpec(CLASSES, CONTEXT_WIDTH, network.max_context)
    engine = SamplingEngine(
        network,
        Parameterization(NoiseSchedule.scaled_linear()),
        conditions,
        latent_shape=(CHANNELS, SIDE, SIDE),
        batch_sizes=(rows,),
        split_unconditional=apart,
        precision=precision,
        device=device,
    )

    def run(asked: Sequence[ImageRequest]) -> None:
        engine.run_until_done([engine.submit(request) for request in asked])

    return engine, run


def released(model: ReleasedSampling, device: torch.device) -> Callable[[Sequence[ImageRequest]], None]:
    """The authors' way with the same images."""
    empty = torch.zeros(1, TEXT_TOKENS, CONTEXT_WIDTH, device=device)

    def run(asked: Sequence[ImageRequest]) -> None:
        context = torch.zeros(len(asked), TEXT_TOKENS, CONTEXT_WIDTH)
        for row, request in zip(context, asked, strict=True):
            row[: len(request.context_LD)] = request.context_LD
        start = torch.randn(len(asked), CHANNELS, SIDE, SIDE, device=device)
        label = torch.tensor([request.label for request in asked], device=device)
        made: Tensor = model.sample(start, context.to(device), label, empty, asked[0].num_inference_steps)
        made.cpu()

    return run


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", help="checkout of the released code")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    for name, default in (("width", 256), ("depth", 8), ("heads", 4), ("images", 16), ("evaluations", 50)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    sizes = {"width": asked.width, "depth": asked.depth}
    network = build_uvit(
        UViTConfig(
            prototypes=OURS,
            latent_side=SIDE,
            latent_channels=CHANNELS,
            patch_size=2,
            num_heads=asked.heads,
            num_classes=CLASSES,
            context_width=CONTEXT_WIDTH,
            **sizes,
        ),
        seed=0,
    )
    network = network.eval().requires_grad_(False).to(device)
    rows = asked.images
    engines = {
        "float32": ours(network, device, rows, apart=False, precision="float32"),
        "apart": ours(network, device, rows, apart=True, precision="float32"),
        "bfloat16": ours(network, device, rows, apart=True, precision="bfloat16"),
    }
    ways = {name: run for name, (_, run) in engines.items()}
    if asked.reference:
        theirs = ReleasedSampling(
            asked.reference, device, side=SIDE, channels=CHANNELS, heads=asked.heads, classes=CLASSES, **sizes
        )
        ways["released"] = released(theirs, device)
    for run in ways.values():
        run(images(asked.images, 3, 0))  # warms up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    before = engines["bfloat16"][0].stats().calls
    for repetition in range(asked.repetitions):
        for name, run in ways.items():
            batch = images(asked.images, asked.evaluations, repetition)
            began = time.perf_counter()
            run(batch)
            seconds[name].append(time.perf_counter() - began)
    took = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {
        "bfloat16_vs_float32": took["apart"] / took["bfloat16"],
        "apart_vs_together": took["float32"] / took["apart"],
    }
    if asked.reference:
        ratios["vs_reference"] = took["released"] / took["bfloat16"]
        ratios["float32_vs_reference"] = took["released"] / took["apart"]
    calls = (engines["bfloat16"][0].stats().calls - before) / asked.repetitions / asked.images
    values = {f"{name}_images_per_second": asked.images / value for name, value in took.items()}
    values = {"images_per_second": values["bfloat16_images_per_second"], "network_calls_per_image": calls, **values}
    config = {key: value for key, value in vars(asked).items() if key != "reference"}
    report("sampling", config | {"latent": "4x32x32", "caption_tokens": f"{SHORTEST}-{LONGEST}"}, ratios, values)


if __name__ == "__main__":
    main()
