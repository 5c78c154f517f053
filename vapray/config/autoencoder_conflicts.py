"""Conflicts between settings of the autoencoder."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vapray.config.conflict import ConfigConflict

if TYPE_CHECKING:
    from vapray.config import Config

__all__ = ["find_autoencoder_conflicts"]

NOT_TUNED = {"pixels": "pixels have no decoder", "pca": "principal components are the best linear decoder already"}
CHANNELS_OF_TAEF2, FACTOR_OF_TAEF2 = 32, 8


def find_autoencoder_conflicts(config: "Config") -> Iterator[ConfigConflict]:
    """Find a missing or unused model, wrong sizes of taef2, turned latents, and decoder tuning without a decoder."""
    settings = config.autoencoder
    trained = settings.kind in ("diffusers", "taef2")
    if trained and not settings.model:
        wanted = "a directory, or hf-hub:OWNER/NAME" if settings.kind == "diffusers" else "a directory"
        yield _misfit(f"kind = {settings.kind}", f"needs autoencoder.model, {wanted}.", "model")
    for key in () if trained else ("model", "revision"):
        if value := getattr(settings, key):
            only = "only kind = diffusers and taef2 read it. Fix: set autoencoder.kind, or remove it."
            yield _misfit(f"{key} = {value}", only, "kind")
    if settings.kind == "taef2" and (settings.channels, settings.factor) != (CHANNELS_OF_TAEF2, FACTOR_OF_TAEF2):
        found = f"has {CHANNELS_OF_TAEF2} channels and factor {FACTOR_OF_TAEF2}, not {settings.channels} and"
        advice = f"Fix: set autoencoder.channels={CHANNELS_OF_TAEF2} autoencoder.factor={FACTOR_OF_TAEF2}."
        yield _misfit("kind = taef2", f"{found} {settings.factor}. {advice}", "channels", "factor")
    if settings.kind == "pca" and settings.channels > (values := 3 * settings.factor**2):
        found = f"a patch of {settings.factor} x {settings.factor} pixels has {values} values, thus components."
        advice = f"Fix: set autoencoder.channels to at most {values}, or raise autoencoder.factor."
        yield _misfit(f"channels = {settings.channels}", f"{found} {advice}", "factor", "kind")
    if config.train.quarter_turns and settings.kind != "pixels":
        text = f"autoencoder.kind = {settings.kind}: the latents of a turned image are not turned latents."
        yield ConfigConflict(
            ("train.quarter_turns", "autoencoder.kind"),
            f"train.quarter_turns with {text} Fix: set autoencoder.kind=pixels, or train.quarter_turns=false.",
        )
    yield from _tuning(config)


def _tuning(config: "Config") -> Iterator[ConfigConflict]:
    settings = config.autoencoder
    steps = settings.tune_decoder_steps
    if steps and (reason := NOT_TUNED.get(settings.kind)):
        yield _misfit(f"tune_decoder_steps = {steps}", f"{reason}. Fix: set it to 0.", "kind")
    if settings.lpips_heads and not settings.lpips_backbone:
        text = "needs autoencoder.lpips_backbone, the network that the heads were trained for."
        yield _misfit(f"lpips_heads = {settings.lpips_heads}", text, "lpips_backbone")
    if settings.lpips_backbone and not steps:
        text = "only decoder tuning reads it. Fix: set autoencoder.tune_decoder_steps, or remove it."
        yield _misfit(f"lpips_backbone = {settings.lpips_backbone}", text, "tune_decoder_steps")


def _misfit(seen: str, text: str, *others: str) -> ConfigConflict:
    keys = (seen.split(" = ", maxsplit=1)[0], *others)
    return ConfigConflict(tuple(f"autoencoder.{key}" for key in keys), f"autoencoder.{seen}: {text}")
