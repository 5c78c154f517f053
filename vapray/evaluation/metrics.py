"""``metrics.json``: the numbers of one run, under names that others rely on."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from vapray.errors import DataError
from vapray.evaluation.intervals import Interval


@dataclass(frozen=True)
class StageTime:
    """What one stage cost."""

    seconds: float
    rows: int
    rows_per_second: float


@dataclass(frozen=True)
class Provenance:
    """What stands behind every number."""

    extractor: str
    extractor_sha256: str
    extractor_width: int
    resize: int
    """Side in pixels that the extractor sees."""
    preparation: str
    """How pictures were decoded and cropped, the same for training, reference and generated images."""
    classifier: str
    """What ``label_accuracy`` rests on."""
    guidance_scale: float
    guidance_convention: str
    """The formula that ``guidance_scale`` enters, for example ``c + s (c - u)``."""
    num_inference_steps: int
    """Network evaluations per image."""
    ema: bool
    seed: int
    label_prior: str
    """Which labels the generated set has: ``training`` or ``uniform``."""
    captioner: str
    """``measured captions``, or the model that wrote them."""
    checkpoint_sha256: str = ""
    network: str = ""
    """What it is, with its parameters."""
    forward_flops: int | None = None
    """Floating-point operations of one network evaluation for one image with a caption of mean length."""
    training_images: int | None = None
    """Images seen in training, repeated ones too."""
    inception_score_of: str = ""
    """Whose class probabilities ``inception_score`` is of."""
    autoencoder: str = ""
    """What latents were made and decoded by, and how well it rebuilds held-out pictures."""


@dataclass(frozen=True)
class Metrics:
    """Headline numbers; NaN and None both mean "not measured" and become null."""

    fid: float
    kid: float
    inception_score: float
    precision: float
    recall: float
    fid_untrained: float
    """Floor: pictures of the untrained network through the same sampler."""
    fid_class_mean: float
    """Floor: class-mean pictures with noise."""
    fid_real_split: float
    """What real held-out images score against the same reference."""
    label_accuracy: float
    caption_adherence: float
    caption_adherence_shuffled: float
    caption_adherence_ceiling: float
    n_real: int
    n_generated: int
    features: str
    """The extractor's name."""
    stages: Mapping[str, StageTime]
    provenance: Provenance
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    """By the name of the number."""
    further: Mapping[str, float | None] = field(default_factory=dict)
    """Numbers outside the contract: density, coverage, fid_real_reconstructed, caption_entropy_bits, ..."""
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values only; a number that is not finite is None."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain

    def to_json(self) -> str:
        """Strict JSON (no NaN) with a newline at its end."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Self:
        """Read ``metrics.json``; null becomes NaN where a number belongs.

        Raises:
            DataError: ``data`` is damaged, or of another version; the message begins with ``where``.
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
                f"{where}: no metrics of this version ({error}). Delete it and run evaluate again."
            ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
