"""Conflicts between settings of the downstream classifiers."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vapray.config.misfit import Misfit

if TYPE_CHECKING:
    from vapray.config import Config

__all__ = ["find_downstream_misfits"]

LISTS = ("networks", "shares", "arms", "seeds")
HALVINGS = 32
"""Factor by which DenseNet-121 and MaxViT reduce a side (five halvings); MaxViT's windows must also divide it
evenly."""


def find_downstream_misfits(config: "Config") -> Iterator[Misfit]:
    """Find every pair of downstream settings that cannot work together."""
    settings = config.downstream
    for name in LISTS:
        for value, times in Counter(getattr(settings, name)).items():
            if times > 1:
                text = f"downstream.{name}: {value} is listed {times} times. Fix: list it once."
                yield Misfit((f"downstream.{name}",), text)
    if settings.n_synthetic and settings.n_synthetic > config.sample.n_images:
        text = (
            f"downstream.n_synthetic = {settings.n_synthetic}: sample.n_images is {config.sample.n_images}. "
            "Fix: lower it, or raise sample.n_images."
        )
        yield Misfit(("downstream.n_synthetic", "sample.n_images"), text)
    for network in sorted({*settings.weights} - {*settings.networks}):
        text = f"downstream.weights = {network}: not in downstream.networks. Fix: add it there, or remove it."
        yield Misfit(("downstream.weights", "downstream.networks"), text)
    yield from _sides(config)


def _sides(config: "Config") -> Iterator[Misfit]:
    settings = config.downstream
    side = settings.image_side or config.data.image_size
    wrong = {"densenet121": side < HALVINGS, "maxvit": side % HALVINGS > 0}
    wanted = {"densenet121": f"at least {HALVINGS}", "maxvit": f"a multiple of {HALVINGS}"}
    for network in settings.networks:
        if wrong.get(network):
            text = f"downstream.image_side = {side}: {network} needs {wanted[network]}. Published weights: 224."
            yield Misfit(("downstream.image_side", "downstream.networks", "data.image_size"), text)
