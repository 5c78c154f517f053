"""Denoising of one image: predicted clean images at several steps, and the result with and without prototypes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vapray.diffusion.image_request import IntermediateLatent
from vapray.diffusion.randomness import draw_sampling_noise
from vapray.diffusion.solver import solver_plan
from vapray.report.page import Image
from vapray.sampling.rendering import decode_latent, render
from vapray.trace.missing import Missing
from vapray.trace.traced_image import TracedImage
from vapray.trace.traced_run import TracedRun
from vapray.training.network import build_parameterization

__all__ = ["Bypassed", "Denoising", "StripImage", "bypassed_image", "denoising"]

SHOWN = 8
"""Number of predicted images in the strip, the result included."""


@dataclass(frozen=True)
class StripImage:
    """Image that the solver would return after ``taken`` network evaluations."""

    taken: int
    step: int
    """Diffusion step of the last evaluation; for the initial noise the first one."""
    noise_share: float
    """Share of noise in the latent that the network saw, 0..1."""
    pixels: Image


@dataclass(frozen=True)
class Denoising:
    """Denoising with one seed."""

    seed: int
    is_own_seed: bool
    """True if the run generated the sample with this seed."""
    strip: Sequence[StripImage]
    """Initial noise, predicted clean images, and the result."""
    evaluations: int
    """Number of network evaluations, without the unconditional ones."""
    settings: str
    """Solver and guidance, as text."""
    condition: str
    """Condition of the network, as text."""
    stored_difference: int | None
    """Largest difference to the stored sample, in grey levels of 255; None if it was not generated with this seed."""

    @property
    def result(self) -> Image:
        """Generated image."""
        return self.strip[-1].pixels


@dataclass(frozen=True)
class Bypassed:
    """Image of the same caption and seed with the prototypes bypassed."""

    pixels: Image
    mean_difference: float
    """Mean absolute difference to the image with prototypes, in grey levels of 255."""


def denoising(run: TracedRun, image: TracedImage, seed: int) -> Denoising | Missing:
    """Generate the image of a caption and record predictions on the way; the result has the sampler's own bytes."""
    if not image.caption:
        return Missing(image.no_caption)
    strip = _strip(run, image, seed)
    own = image.sample is not None and image.sample["seed"] == seed
    return Denoising(
        seed,
        own,
        strip,
        run.config.sample.network_evaluations,
        _settings_text(run),
        _condition_text(run, image),
        _difference(strip[-1].pixels, image.pixels) if own and image.pixels is not None else None,
    )


def _strip(run: TracedRun, image: TracedImage, seed: int) -> list[StripImage]:
    """Generate the image, and decode the noise and some of the predictions that the engine reports on the way."""
    sampler, evaluations = run.sampler, run.config.sample.network_evaluations
    autoencoder, space = sampler.autoencoder, sampler.space
    wanted = {int(taken) for taken in np.linspace(1, evaluations, SHOWN).round()[:-1]}
    latents = {0: draw_sampling_noise([seed], (space.channels, space.side, space.side))[0]}

    def keep(preview: IntermediateLatent) -> None:
        if preview.taken in wanted:
            latents[preview.taken] = preview.clean_CHW

    (request,) = sampler.requests([image.label], [image.caption], [seed], run.settings)
    (result,) = render(sampler.engine, [replace(request, preview=keep)], autoencoder, space)
    decoded = {taken: decode_latent(latent, autoencoder, space) for taken, latent in latents.items()}
    decoded[evaluations] = result
    schedule = build_parameterization(run.config).schedule
    plan = solver_plan(schedule, run.settings.solver, run.settings.num_inference_steps)
    steps = {taken: int(plan.steps[max(0, taken - 1)]) for taken in decoded}
    return [
        StripImage(taken, steps[taken], float(schedule.noise_share[steps[taken]]), pixels)
        for taken, pixels in decoded.items()
    ]


def bypassed_image(run: TracedRun, image: TracedImage, made: Denoising | Missing) -> Bypassed | Missing:
    """Generate the image again with the prototypes bypassed."""
    if isinstance(made, Missing):
        return made
    if not run.sampler.has_prototypes:
        return Missing("This network has no prototypes to bypass, so there is nothing to compare with.")
    settings = replace(run.settings, prototypes="bypassed")
    (other,) = run.sampler.make([image.label], [image.caption], [""], [made.seed], settings)
    difference = np.abs(other.pixels.astype(int) - made.result.astype(int))
    return Bypassed(other.pixels, float(difference.mean()))


def _difference(one: Image, other: Image) -> int | None:
    return int(np.abs(one.astype(int) - other.astype(int)).max()) if one.shape == other.shape else None


def _settings_text(run: TracedRun) -> str:
    settings = run.settings
    interval = (
        f" in steps {settings.guidance_interval[0]} to {settings.guidance_interval[1]}"
        if settings.guidance_interval
        else ""
    )
    formula = {"excess": "c + s (c - u)", "classifier_free": "u + s (c - u)"}[settings.guidance_convention]
    return (
        f"{settings.solver}, {settings.num_inference_steps} steps, guidance {settings.guidance_scale:g} as "
        f"{formula}{interval}, {run.config.sample.weights} weights, {run.config.sample.precision}"
    )


def _condition_text(run: TracedRun, image: TracedImage) -> str:
    if run.config.model.condition == "caption":
        return f"class {image.class_name} and the caption"
    return f"class {image.class_name} only: this network reads no caption"
