"""What the HTTP side asks of the computing side, and in what words.

``ServeBackend`` answers it from Ray Serve's replicas; whatever else answers it can stand behind the same API.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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
    """A model that the service has."""

    name: str
    created: int
    """Unix time of the deployment."""
    sha256: str
    """Of its weights."""
    class_names: tuple[str, ...]
    image_size: int
    """Side in pixels."""
    settings: SamplingSettings
    """What holds where a request says nothing."""
    max_inference_steps: int
    has_prototypes: bool
    """Whether it can be asked for pictures with the prototype condition bypassed."""
    has_reference: bool
    """Whether real pictures are at hand: evaluations, neighbours."""


@dataclass(frozen=True)
class ImageJob:
    """One picture."""

    model: str
    label: int | None
    """Class; None: that of the bank's entry, or the class that the caption names, or whose bank lies nearest to it."""
    caption: str | None
    """None: drawn from the class's bank by the seed."""
    seed: int
    settings: SamplingSettings
    bank_id: str | None = None
    """Instead of a caption: the entry of the bank that has it."""
    deadline: float | None = None
    """Unix time by which it has to be finished."""
    previews: int = 0
    """Partial pictures to show on the way, evenly spread over its steps."""
    request_id: str = ""


@dataclass(frozen=True)
class PartialImage:
    """What a picture would be if its solver stopped now."""

    index: int
    """0, 1, ... of the previews asked for."""
    taken: int
    """Solver steps behind it."""
    steps: int
    """In all."""
    png: bytes


@dataclass(frozen=True)
class ImageResult:
    """A finished picture."""

    png: bytes
    """With its provenance in text chunks."""
    label: int
    class_name: str
    caption: str
    bank_id: str | None
    """The entry of the bank that its caption came from."""
    seed: int
    model_sha256: str
    text_tokens: int
    network_rows: int
    """Network evaluations it took, guidance's unconditional ones too."""


@dataclass(frozen=True)
class BankEntryInfo:
    """An entry of the prompt bank; its id says nothing of the training image that it was written for."""

    id: str
    """CLASS-NUMBER, counted from 0 in the order of the bank."""
    caption: str


@dataclass(frozen=True)
class DistanceResult:
    """How far a text lies from a class's bank, as the model's text encoder sees it."""

    nearest: BankEntryInfo
    distance: float
    """Cosine distance of mean tokens to the nearest caption, 0..2."""
    typical: float
    """Median of the same between each caption of the bank and the nearest other one with another text."""
    share_farther: float
    """Share of the bank's own captions that lie farther from their nearest other one: 0 is far outside."""


@dataclass(frozen=True)
class Neighbour:
    """A real training picture."""

    class_name: str
    distance: float
    """In the extractor's features, over the median that held-out real pictures have to their nearest."""
    png: bytes


@dataclass(frozen=True)
class CaptionResult:
    """What a captioner says of a picture."""

    caption: str
    captioner: str
    """``measured captions``, or the model's name."""


@dataclass(frozen=True)
class EvaluationJob:
    """A set of pictures to measure: uploaded, or generated with consecutive seeds."""

    model: str
    """Whose reference statistics it is held against, and who generates."""
    images: tuple[bytes, ...] = ()
    """Uploaded picture files."""
    n: int = 0
    """Pictures to generate, at least 2; captions are drawn from the bank."""
    label: int | None = None
    """Their class; None: classes in proportion to the training images."""
    seed: int = 0
    settings: SamplingSettings | None = None
    """None: the model's."""

    @property
    def generated(self) -> dict[str, Any]:
        """How its pictures are generated, as ``Evaluation.generated`` shows it."""
        if not self.n:
            return {}
        shown = ("prototypes", "num_inference_steps", "guidance_scale")
        settings = {name: getattr(self.settings, name) for name in shown} if self.settings else {}
        return {"label": self.label, "seed": self.seed, **settings}


@dataclass(frozen=True)
class Evaluation:
    """An evaluation on its way; as JSON it is what the API shows."""

    id: str
    model: str
    status: Literal["queued", "running", "succeeded", "failed"]
    created: int
    """Unix time."""
    n: int
    """Pictures."""
    done: int = 0
    """Pictures measured so far."""
    source: Literal["uploaded", "generated"] = "uploaded"
    generated: dict[str, Any] = field(default_factory=dict)
    """``label`` (null: all), ``seed``, ``prototypes``, ``num_inference_steps``, ``guidance_scale``; uploaded: empty."""
    results: dict[str, Any] = field(default_factory=dict)
    """``fid``, ``kid``, ``inception_score``, ``precision``, ``recall``: {value, low, high}, None where not measured;
    ``n_reference``, ``features``, ``features_sha256``, ``warnings``."""
    error: str | None = None


class Backend(Protocol):
    """Everything raises ``ApiError`` for what a client should be told; a cancelled call cancels what it asked for."""

    async def models(self) -> list[ModelInfo]:
        """All of them; never wakes a replica."""

    async def ready(self) -> dict[str, bool]:
        """For each model, whether it has made a picture since it was deployed; never wakes a replica."""

    async def image(self, job: ImageJob) -> ImageResult:
        """Make one."""

    def image_stream(self, job: ImageJob) -> AsyncGenerator[PartialImage | ImageResult, None]:
        """Make one and show it on the way; the finished one comes last."""

    async def bank(self, model: str, label: int, offset: int, limit: int) -> tuple[list[BankEntryInfo], int]:
        """Captions of a class, and how many it has."""

    async def draw(self, model: str, label: int, seed: int) -> BankEntryInfo:
        """One of them, by a seed: the one that a picture of this class and seed would be given."""

    async def distance(self, model: str, label: int, caption: str) -> DistanceResult:
        """From a class's bank."""

    async def neighbours(self, model: str, image: bytes, k: int) -> list[Neighbour]:
        """Nearest training pictures of an uploaded or generated one."""

    async def caption(self, model: str, image: bytes) -> CaptionResult:
        """A caption for a picture."""

    async def submit_evaluation(self, job: EvaluationJob, owner: str, idempotency_key: str | None) -> Evaluation:
        """Take an evaluation; the same owner and key give the first one again, another order under it is refused."""

    async def evaluation(self, id: str, owner: str) -> Evaluation:
        """Where it stands; another owner's is not found."""

    async def evaluations(self, owner: str) -> Sequence[Evaluation]:
        """Of an owner, newest first."""

    async def metrics(self) -> str:
        """What Prometheus scrapes, in its text format."""
