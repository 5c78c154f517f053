"""Images to feature vectors: the registry of extractors."""

import difflib
from collections.abc import Callable
from typing import Any

from vapray.config import Evaluate
from vapray.errors import ConfigError
from vapray.evaluation.classifier import Classifier
from vapray.evaluation.extractors.extractor import FeatureExtractor, FeatureSpace
from vapray.evaluation.extractors.inception import inception_v3
from vapray.evaluation.extractors.random_convolutions import RandomConvolutions
from vapray.evaluation.extractors.torchvision_networks import densenet121, squeezenet, vgg16
from vapray.evaluation.extractors.trained_classifier import penultimate_layer
from vapray.evaluation.extractors.vision_transformers import biomedclip, dinov2

__all__ = [
    "FeatureExtractor", "FeatureSpace", "RandomConvolutions", "extractor_names", "extractor_of", "load_extractor",
    "register_extractor",
]  # fmt: skip

_FACTORIES: dict[str, Callable[..., FeatureExtractor]] = {
    "random_convolutions": RandomConvolutions,
    "inception_v3": inception_v3,
    "vgg16": vgg16,
    "squeezenet": squeezenet,
    "densenet121": densenet121,
    "dinov2": dinov2,
    "biomedclip": biomedclip,
    "classifier": penultimate_layer,
}


def register_extractor(name: str, factory: Callable[..., FeatureExtractor]) -> None:
    """Make ``load_extractor(name, **options)`` call ``factory(**options)``; the latest one holds."""
    _FACTORIES[name] = factory


def extractor_names() -> tuple[str, ...]:
    """The names that ``load_extractor`` accepts."""
    return tuple(sorted(_FACTORIES))


def load_extractor(name: str = "random_convolutions", **options: Any) -> FeatureExtractor:
    """Build the extractor registered under ``name``.

    Raises:
        ConfigError: nothing is registered under it; the nearest name is offered.
    """
    if name in _FACTORIES:
        return _FACTORIES[name](**options)
    near = difflib.get_close_matches(name, _FACTORIES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(f"unknown feature extractor {name!r}; known: {', '.join(extractor_names())}.{hint}")


def extractor_of(settings: Evaluate, device: str = "cpu", classifier: Classifier | None = None) -> FeatureExtractor:
    """The extractor that section ``evaluate`` of the config asks for.

    Args:
        settings: the section.
        device: of torch, for all but the embedded one, which is too small to gain from another than the CPU.
        classifier: the one that judges labels, for ``features: classifier``.

    Raises:
        ConfigError: weights that are not there, or of another network.
        CheckpointError: a damaged file.
        BackendError: a package or a model that cannot be had on this machine.
    """
    own: dict[str, dict[str, Any]] = {
        "random_convolutions": {},
        "classifier": {"classifier": classifier, "device": device},
    }
    options = own.get(settings.features, {"settings": settings, "device": device})
    return load_extractor(settings.features, **options)
