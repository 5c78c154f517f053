"""``metrics.json``: the metrics of one run, under stable names."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from vapray.errors import DataError
from vapray.metrics.intervals import Interval


@dataclass(frozen=True)
class StageTime:
    """Duration and throughput of one stage."""

    seconds: float
    rows: int
    rows_per_second: float


@dataclass(frozen=True)
class Provenance:
    """Origin of every number of a run."""

    extractor: str
    extractor_sha256: str
    extractor_width: int
    resize: int
    """Side in pixels that the extractor sees."""
    preparation: str
    """Decoding and cropping of images; the same for training, reference and generated images."""
    classifier: str
    """Classifier behind ``label_accuracy``."""
    guidance_scale: float
    guidance_convention: str
    """The formula that ``guidance_scale`` enters, for example ``c + s (c - u)``."""
    num_inference_steps: int
    """Network evaluations per image."""
    ema: bool
    seed: int
    label_prior: str
    """Label distribution of the generated set: ``training`` or ``uniform``."""
    captioner: str
    """``measured captions``, or the model that wrote them."""
    checkpoint_sha256: str = ""
    network: str = ""
    """Kind of the network, with its number of parameters."""
    forward_flops: int | None = None
    """Floating-point operations of one network evaluation for one image with a caption of mean length."""
    training_images: int | None = None
    """Number of images seen in training, including repetitions."""
    inception_score_of: str = ""
    """Network whose class probabilities ``inception_score`` uses."""
    autoencoder: str = ""
    """Autoencoder of the latents, with its reconstruction error on held-out images."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of a run; NaN and None both mean "not measured" and become null."""

    fid: float
    kid: float
    inception_score: float
    precision: float
    recall: float
    fid_untrained: float
    """Floor: FID of images of the untrained network through the same sampler."""
    fid_class_mean: float
    """Floor: FID of class-mean images with noise."""
    fid_real_split: float
    """FID of real held-out images against the same reference."""
    label_accuracy: float
    caption_adherence: float
    caption_adherence_shuffled: float
    caption_adherence_ceiling: float
    n_real: int
    n_generated: int
    features: str
    """Name of the feature extractor."""
    stages: Mapping[str, StageTime]
    provenance: Provenance
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    """Intervals by the name of the number."""
    further: Mapping[str, float | None] = field(default_factory=dict)
    """All other numbers by key, such as density. New metrics go here: a new field would make older files unreadable."""
    warnings: tuple[str, ...] = ()
    caption_adherence_real: float = math.nan
    """Caption adherence of real held-out images as they are, without the autoencoder."""
    caption_adherence_attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By attribute: ``value``, ``shuffled``, ``real``, and ``excess``, the bounds of value - shuffled."""
    attribute_judge: Mapping[str, Any] = field(default_factory=dict)
    """Caption adherence by the attribute judge, empty without one: ``accuracy`` on held-out images against what was
    drawn, ``adherence``, ``shuffled``, ``real``, and ``attributes`` as above, each with its own ``accuracy``."""
    basis: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Images behind numbers, by number: ``n``, the images of each set; ``of``, those that there are; ``how`` they were
    chosen."""
    groups: Mapping[str, Any] = field(default_factory=dict)
    """Numbers by group, as ``GroupReport.to_dict``; empty, and not in the file, without ``evaluate.groups``."""

    def value(self, key: str) -> float | None:
        """Value of a metric, also of an additional one; None or NaN if this run did not measure it."""
        found: float | None = getattr(self, key, self.further.get(key))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values; non-finite numbers become None."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain if plain["groups"] else {key: value for key, value in plain.items() if key != "groups"}

    def to_json(self) -> str:
        """Serialize as strict JSON (no NaN) with a trailing newline."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Self:
        """Parse ``metrics.json``; null becomes NaN for numbers.

        Args:
            data: Contents of the file.
            where: Path of the file, for errors.

        Raises:
            DataError: ``data`` is damaged or of another version.
        """
        try:
            card = json.loads(data)
            intervals = {name: bounds and Interval(**bounds) for name, bounds in card["intervals"].items()}
            stages = {name: StageTime(**time) for name, time in card["stages"].items()}
            numbers = {name: math.nan for name, value in card.items() if value is None}
            rest = {"intervals": intervals, "stages": stages, "provenance": Provenance(**card["provenance"])}
            return cls(**{**card, **numbers, **rest, "warnings": tuple(card["warnings"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"{where}: not metrics of this version ({error}). Fix: delete it and run evaluate again."
            ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
