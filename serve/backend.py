"""Interface between the HTTP API and the computation: the ``Backend`` protocol and its data types.

``ServeBackend`` implements it over Ray Serve; tests implement it in one process.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from serve.uploaded_images import UploadedImages
from vapray.sampling.generated import SamplingSettings

__all__ = [
    "Backend",
    "BankEntryInfo",
    "CaptionResult",
    "DistanceResult",
    "Evaluation",
    "EvaluationJob",
    "ImageJob",
    "ImageResult",
    "ModelInfo",
    "Neighbour",
    "PartialImage",
]


@dataclass(frozen=True)
class ModelInfo:
    """Public description of a model."""

    name: str
    created: int
    """Unix time of the deployment."""
    sha256: str
    """Hash of the weights."""
    class_names: tuple[str, ...]
    image_size: int
    """Side in pixels."""
    settings: SamplingSettings
    """Defaults of a request."""
    max_inference_steps: int
    has_prototypes: bool
    """True if the prototype condition can be bypassed."""
    has_reference: bool
    """True if real images are available, for evaluations and neighbours."""
    aliases: tuple[str, ...] = ()
    """Further names that requests may send."""


@dataclass(frozen=True)
class ImageJob:
    """Request for one image."""

    model: str
    label: int | None
    """Class; None: the class of the bank entry, the class named in the caption, or the class with the nearest bank."""
    caption: str | None
    """Caption; None: drawn from the bank of the class with the seed."""
    seed: int
    settings: SamplingSettings
    bank_id: str | None = None
    """Bank entry whose caption is used instead of ``caption``."""
    deadline: float | None = None
    """Unix time by which the image has to be finished."""
    previews: int = 0
    """Number of partial images, evenly spaced over the steps."""
    request_id: str = ""
    owner: str = ""
    """Id of the API key; images of different keys take turns in the sampler."""


@dataclass(frozen=True)
class PartialImage:
    """Preview of an unfinished image."""

    index: int
    """0, 1, ... among the requested previews."""
    taken: int
    """Solver steps completed."""
    steps: int
    """Solver steps in total."""
    png: bytes


@dataclass(frozen=True)
class ImageResult:
    """A finished image."""

    png: bytes
    """PNG with its provenance in text chunks."""
    label: int
    class_name: str
    caption: str
    bank_id: str | None
    """Bank entry of the caption."""
    seed: int
    model_sha256: str
    text_tokens: int
    network_rows: int
    """Network evaluations, including the unconditional ones of guidance."""


@dataclass(frozen=True)
class BankEntryInfo:
    """Entry of the prompt bank; its id does not reveal the training image of the caption."""

    id: str
    """CLASS-NUMBER, counted from 0 in the order of the bank."""
    caption: str


@dataclass(frozen=True)
class DistanceResult:
    """Distance between a caption and the bank of a class in the model's text encoder."""

    nearest: BankEntryInfo
    distance: float
    """Cosine distance of mean tokens to the nearest caption, 0..2."""
    typical: float
    """Median distance between a caption of the bank and the nearest other one with a different text."""
    share_farther: float
    """Share of the bank's captions that are farther from their nearest other caption, 0..1."""


@dataclass(frozen=True)
class Neighbour:
    """Real training image near an image."""

    class_name: str
    distance: float
    """Distance in the extractor's features, divided by the median nearest distance of held-out real images."""
    png: bytes


@dataclass(frozen=True)
class CaptionResult:
    """Caption of an image."""

    caption: str
    captioner: str
    """``measured captions``, or the name of the model."""


@dataclass(frozen=True)
class EvaluationJob:
    """Set of images to measure: uploaded, or generated with consecutive seeds."""

    model: str
    """Model that generates the images and provides the reference statistics."""
    images: UploadedImages | None = None
    """Uploaded image files; None: the images are generated."""
    n: int = 0
    """Number of images to generate, at least 2; captions are drawn from the bank."""
    label: int | None = None
    """Class of generated images; None: classes in proportion to the training images."""
    seed: int = 0
    settings: SamplingSettings | None = None
    """Sampling settings; None: the model's defaults."""

    @property
    def generated(self) -> dict[str, Any]:
        """Generation settings, as shown in ``Evaluation.generated``."""
        if not self.n:
            return {}
        shown = ("prototypes", "num_inference_steps", "guidance_scale")
        settings = {name: getattr(self.settings, name) for name in shown} if self.settings else {}
        return {"label": self.label, "seed": self.seed, **settings}


@dataclass(frozen=True)
class Evaluation:
    """State of an evaluation, as returned by the API.

    ``results`` is empty until ``status`` is succeeded. Then it has ``fid``, ``kid``, ``inception_score``, ``precision``
    and ``recall`` against the training images of the model's run, each with ``value``, ``low`` and ``high`` (95 %
    interval) or null, and ``n``, ``n_reference``, ``features``, ``features_sha256`` and ``warnings``.
    """

    id: str
    model: str
    status: Literal["queued", "running", "succeeded", "failed"]
    created: int
    """Unix time."""
    n: int
    """Number of images."""
    done: int = 0
    """Images measured so far."""
    source: Literal["uploaded", "generated"] = "uploaded"
    generated: dict[str, Any] = field(default_factory=dict)
    """``label`` (null: all classes), ``seed``, ``prototypes``, ``num_inference_steps``, ``guidance_scale``; empty if
    uploaded."""
    results: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class Backend(Protocol):
    """Computation behind the API; methods raise ``ApiError``, and cancelling a call cancels its work."""

    async def models(self) -> list[ModelInfo]:
        """List the models, without starting a replica."""

    async def ready(self) -> dict[str, bool]:
        """Check for each model that it has generated an image since its deployment, without starting a replica."""

    async def image(self, job: ImageJob) -> ImageResult:
        """Generate an image."""

    def image_stream(self, job: ImageJob) -> AsyncGenerator[PartialImage | ImageResult, None]:
        """Generate an image with previews; the finished image is the last item."""

    async def bank(self, model: str, label: int, offset: int, limit: int) -> tuple[list[BankEntryInfo], int]:
        """List captions of a class, and count all of them."""

    async def draw(self, model: str, label: int, seed: int) -> BankEntryInfo:
        """Draw the caption that an image of this class and seed gets."""

    async def distance(self, model: str, label: int, caption: str) -> DistanceResult:
        """Measure the distance between a caption and the bank of a class."""

    async def neighbours(self, model: str, image: bytes, k: int) -> list[Neighbour]:
        """Find the nearest training images of an image file."""

    async def caption(self, model: str, image: bytes) -> CaptionResult:
        """Caption an image file."""

    async def submit_evaluation(self, job: EvaluationJob, owner: str, idempotency_key: str | None) -> Evaluation:
        """Start an evaluation; a repeated key of the same owner returns the first one and refuses another job."""

    async def evaluation(self, id: str, owner: str) -> Evaluation:
        """Get an evaluation of this owner."""

    async def delete_evaluation(self, id: str, owner: str) -> None:
        """Delete an evaluation of this owner, and stop it."""

    async def evaluations(self, owner: str) -> Sequence[Evaluation]:
        """List the evaluations of an owner, newest first."""

    async def metrics(self) -> str:
        """Export metrics in Prometheus text format."""
