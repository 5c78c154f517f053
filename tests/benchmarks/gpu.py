"""Speed of vapray's networks on one GPU: training steps, the sampling engine, encoding and decoding.

    python -m tests.benchmarks.gpu [--device cuda] [--minutes 5.5] [--small]

It needs torch (2.11 or newer) and NumPy alone: no Ray, no diffusers, no settings, no data. Inputs are random. Parts
begin in order of importance, and none begins after ``--minutes``. The U-ViT has depth 16, a PCM, latents of 4x32x32 in
patches of 2 and captions of 60 to 120 tokens of 768 values in multiples of 16, as in jobs/configs/isic2018.yaml.

``mfu`` counts three forward passes of every image against the data sheet's rate of dense bfloat16 products (0 for
unknown devices), ``mfu_of_measured`` against the rate of a large product in this run. A training step is forward and
backward pass, clipping, AdamW and the moving average, without loading. ``host_ms`` is the time in which the CPU has
launched a step: below ``ms``, the device is the limit. Kernels of attention are named with their share of the device's
time. The engine gives each image its own guidance: half of them take two rows a step. The autoencoder is of Stable
Diffusion's shape, with random weights. ``--small`` has tiny sizes, for tests.
"""

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.gpu_networks import (
    CHANNELS,
    CLASSES,
    CONTEXT_WIDTH,
    PARAMETERIZATION,
    Autoencoder,
    Sizes,
    TrainingStep,
)
from tests.benchmarks.gpu_timing import Measurement
from tests.benchmarks.table import report
from vapray.diffusion.engine import SamplingEngine
from vapray.diffusion.guidance import Guidance
from vapray.diffusion.image_request import ConditioningSpec, ImageRequest
from vapray.training.speed import peak_flops_of


def measure_products(found: Measurement, side: int) -> float:
    """Rate of a large bfloat16 product."""
    one, other = (torch.randn(side, side, device=found.device, dtype=torch.bfloat16) for _ in range(2))
    seconds, _ = found.seconds(lambda: one @ other)
    rate = 2.0 * side**3 / seconds
    found.note(f"product of {side} x {side}, bfloat16: {rate / 1e12:,.1f} TFLOP/s", product_tflops=rate / 1e12)
    return rate


def measure_training(found: Measurement, sizes: Sizes, name: str, rate: float, **how: Any) -> None:
    """Time of a step, its share of the peak, and memory."""
    with found.part(f"training, {name}") as begins:
        if not begins:
            return
        step = TrainingStep(sizes, how.pop("precision", "bfloat16"), found.device, **how)
        _, host = found.seconds(step, warm=6)
        seconds, peak = found.throughput(step), peak_flops_of(found.device)
        mfu = step.flops / seconds / peak if peak else 0.0
        measured, gib = step.flops / seconds / rate, found.gib()
        found.note(
            f"training, {name:<22} {1000 * seconds:8.2f} ms (CPU {1000 * host:7.2f})  MFU {mfu:6.1%} (of measured "
            f"{measured:6.1%})  {sizes.batch / seconds:9,.0f} images/s  {gib:5.1f} GiB",
            **{
                f"{name}_ms": 1000 * seconds,
                f"{name}_host_ms": 1000 * host,
                f"{name}_mfu": mfu,
                f"{name}_mfu_of_measured": measured,
                f"{name}_gib": gib,
            },
        )


def list_kernels(found: Measurement, sizes: Sizes) -> None:
    """Kernels of attention in an eager step, and those that take most of the time."""
    with found.part("kernels") as begins:
        if not begins:
            return
        step = TrainingStep(sizes, "bfloat16", found.device, compiled=False)
        for _ in range(3):
            step()
        on_gpu = found.device.type == "cuda"
        with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
            for _ in range(2):
                step()
            if on_gpu:
                torch.cuda.synchronize(found.device)
        times = {
            event.key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total)
            for event in profiler.key_averages()
        }
        total = sum(times.values()) or 1
        signs = ("flash", "fmha", "cudnn", "attention", "softmax")
        asked = sorted((name for name in times if times[name]), key=lambda name: -times[name])
        shown = asked[:8] + [name for name in asked[8:] if any(sign in name.lower() for sign in signs)][:6]
        for name in shown:
            print(f"  kernel {times[name] / total:6.1%}  {name[:110]}", flush=True)


def measure_engine(found: Measurement, sizes: Sizes, images: int, steps: int, *, compiled: bool = False) -> None:
    """Images a second of one network, half of them with guidance."""
    name = f"engine_{images}{'_compiled' if compiled else ''}"
    with found.part(name) as begins:
        if not begins:
            return
        network = sizes.network().to(found.device).eval().requires_grad_(False)
        if compiled:
            network.compile_blocks()
        engine = SamplingEngine(
            network,
            PARAMETERIZATION,
            ConditioningSpec(CLASSES, CONTEXT_WIDTH, 256),
            latent_shape=(CHANNELS, sizes.side, sizes.side),
            batch_sizes=(2 * images if images < 64 else 128,),
            precision="bfloat16",
            device=found.device,
        )

        def sample(count: int) -> None:
            tickets = [
                engine.submit(
                    ImageRequest(
                        seed,
                        label=seed % CLASSES,
                        context_LD=torch.randn(sizes.tokens[1] - seed % 16, CONTEXT_WIDTH),
                        num_inference_steps=count,
                        guidance=Guidance(1.5 * (seed % 2)),
                    )
                )
                for seed in range(images)
            ]
            engine.run_until_done(tickets)

        sample(2)
        found.wait()
        began = time.perf_counter()
        sample(steps)
        found.wait()
        seconds = time.perf_counter() - began
        found.note(
            f"{name:<22} {images / seconds:9.2f} images/s of {steps} steps, {1000 * seconds / steps:8.2f} ms a step",
            **{f"{name}_images_per_second": images / seconds, f"{name}_step_ms": 1000 * seconds / steps},
        )


def measure_autoencoder(found: Measurement, side: int, widths: tuple[int, ...], batch: int) -> None:
    """Images a second of encoder and decoder, in float32 and bfloat16."""
    for decode in (True, False):
        name = "decode" if decode else "encode"
        with found.part(name) as begins:
            if not begins:
                continue
            network = Autoencoder(widths, decode=decode).to(found.device).eval().requires_grad_(False)
            small = side // 2 ** (len(widths) - 1)
            shape = (batch, CHANNELS, small, small) if decode else (batch, 3, side, side)
            values = torch.randn(shape, device=found.device)
            for precision in ("float32", "bfloat16"):
                context: AbstractContextManager[object] = nullcontext()
                if precision == "bfloat16":
                    context = torch.autocast(found.device.type, torch.bfloat16)
                with torch.no_grad(), context:
                    seconds, _ = found.seconds(lambda network=network, values=values: network(values), warm=2)  # type: ignore[misc]
                found.note(
                    f"{name} {precision:<15} {batch / seconds:9.1f} images/s of {side} pixels, {batch} at a time",
                    **{f"{name}_{precision}_images_per_second": batch / seconds},
                )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=5.5)
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}", flush=True)
    small, base, large = Sizes(32, 2, side=8, depth=2, batch=4), Sizes(512, 8), Sizes(1024, 16)
    base, large = (small, small) if asked.small else (base, large)
    found = Measurement(device, asked.minutes, 3 if asked.small else 20)
    rate = measure_products(found, 256 if asked.small else 8192)
    for width, sizes in (("width_512", base), ("width_1024", large)):
        measure_training(found, sizes, width, rate, compiled=False)
    for width, sizes in (("width_512", base), ("width_1024", large)):
        measure_training(found, sizes, f"{width}_compiled", rate, compiled=True)
    list_kernels(found, base)
    for images in (64, 8, 1):
        measure_engine(found, base, images if not asked.small else min(images, 3), 4 if asked.small else 25)
    widths = (16, 16) if asked.small else (128, 256, 512, 512)
    measure_autoencoder(found, 16 if asked.small else 256, widths, 2 if asked.small else 16)
    measure_engine(found, base, 3 if asked.small else 64, 4 if asked.small else 25, compiled=True)
    measure_training(found, base, "width_512_float32", rate, precision="float32", compiled=False)
    report("gpu", {"device": name, "torch": torch.__version__, "batch": base.batch}, {}, found.values)


if __name__ == "__main__":
    main()
