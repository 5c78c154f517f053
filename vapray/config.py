"""The configuration: one frozen, typed tree. The docstring under a field is its help.

:func:`vapray.config_file.load` builds it from a YAML file and overrides. Sections named in a stage's fingerprint decide
that stage's result; ``run.root``, ``cluster`` and ``pools`` say where and how fast, never what, and are in none.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vapray.config_fit import Misfits, find_misfits

__all__ = ["Config", "Pool"]

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Modality = Literal["dermoscopy", "chest_xray", "colonoscopy"]


class Section(BaseModel):
    """Frozen; unknown keys, nan, infinities, and texts or truths in place of numbers are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Run(Section):
    """Where a run lives and what makes it repeatable."""

    root: str = "runs/demo"
    """Folder or URI that holds every table, checkpoint and report of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seeds everything that is drawn: phantoms, wording, weights, noise, samples."""
    max_bad_fraction: Share = 0.01
    """A stage fails when more than this share of the rows it was asked for is rejected."""


class Cluster(Section):
    """Which Ray to use."""

    address: str | None = None
    """None: start an embedded Ray; "auto" or host:port: join a running cluster."""
    num_cpus: Count | None = None
    """Logical CPUs of the embedded Ray; None: max(4, cores), so that no actor pool can starve a reader."""
    object_store_mb: Annotated[int, Field(ge=80)] = 256
    """Shared memory of the embedded Ray."""
    shared_filesystem: bool = False
    """Say true when ``run.root`` is a local path that every node of a multi-node cluster mounts."""


class Pool(Section):
    """An actor pool of Ray Data."""

    min_size: Count = 1
    """Actors at the start."""
    max_size: Count = 2
    """Actors at the most; the pool grows while work waits."""
    num_cpus: Positive = 0.5
    """Logical CPUs an actor reserves; fractions keep a laptop from starving."""
    num_gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs an actor reserves."""
    batch_rows: Count = 128
    """Rows of one unit of work, which is also one committed part."""
    overlap: Count = 1
    """Units of work that an actor has under way at once; 2 or more keep an engine busy while a part is committed."""

    @property
    def device(self) -> str:
        """Of torch, in its actors."""
        return "cuda" if self.num_gpus else "cpu"


class Pools(Section):
    """One pool for each stage that maps rows."""

    ingest: Pool = Pool(batch_rows=512)
    caption: Pool = Pool(batch_rows=64, min_size=2)
    bank: Pool = Pool(batch_rows=512, max_size=1)
    autoencoder: Pool = Pool(max_size=1, num_cpus=2)
    encode: Pool = Pool(batch_rows=256, max_size=1)
    sample: Pool = Pool(batch_rows=128, min_size=2)
    evaluate: Pool = Pool(batch_rows=256, min_size=2)


class Phantom(Section):
    """Drawn pictures with known attributes."""

    n_images: Annotated[int, Field(ge=20)] = 1600
    """Pictures over all splits."""
    width: Annotated[int, Field(ge=32)] = 128
    """Pixels."""
    height: Annotated[int, Field(ge=32)] = 96
    """Pixels."""


class Data(Section):
    """The labelled images."""

    source: Literal["phantom", "isic2018", "isic2019", "chestxray14", "colonoscopy", "folder"] = "phantom"
    """phantom draws its own pictures; the others read ``root``."""
    root: str | None = None
    """Dataset folder."""
    no_finding: bool = False
    """For source chestxray14: pictures without a finding are a class too."""
    labels: str | None = None
    """For source colonoscopy: YAML file that maps its parts' diagnoses to common labels. None: vapray's own."""
    accept_identified_dicom: bool = False
    """Read DICOM files that are not marked as de-identified. Nothing of their headers is kept either way."""
    modality: Modality = "dermoscopy"
    """Decides prompts and measured attributes."""
    image_size: Annotated[int, Field(ge=8)] = 32
    """Side in pixels of the square frame that is trained on, sampled and compared."""
    validation_share: Share = 0.1
    """Of the groups, where the dataset brings no validation split."""
    test_share: Share = 0.2
    """Of the groups, where the dataset brings no test split."""
    phantom: Phantom = Phantom()


class Caption(Section):
    """Images to captions."""

    captioner: Literal["measured", "given", "vllm", "openai"] = "measured"
    """measured (embedded: classical image analysis), given (your own captions), or a multimodal LLM: vllm (in the
    pool's actors) or openai (any endpoint that speaks that API)."""
    strategy: Literal["direct", "impression", "impression+knowledge", "vaps"] = "vaps"
    """vaps asks all three questions; the others are for the ablation and need a multimodal LLM."""
    prompt_set: str | None = None
    """Name or YAML file; None: the one of ``data.modality``."""
    omit: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Attributes of the prompt set that no caption shall mention."""
    captions: str | None = None
    """For captioner given: a CSV with image_id and caption; None: the column ``text`` of the dataset's own table."""
    image_side: Annotated[int, Field(ge=32)] = 96
    """Pixels of the square frame that the captioner sees; a multimodal LLM wants some 448."""
    model: str | None = None
    """For vllm: hub id or folder; for openai: the endpoint's name of it."""
    revision: str | None = None
    """Of a hub id; None: the newest."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Of an LLM's answers; 0 takes the likeliest token. What cannot be used is asked for again at 0.7 or more."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the probability that an LLM's tokens are drawn from."""
    max_tokens: Annotated[int, Field(ge=8)] = 256
    """Longest answer of an LLM."""
    knowledge_variants: Count = 1
    """How many answers to the knowledge question are asked for; each image draws one."""
    json_answers: bool = False
    """Decode an LLM's captions as JSON with one text for each attribute."""
    retries: Natural = 2
    """How often an answer that cannot be used is asked for again before the image is a reject."""


class Vllm(Section):
    """The engine of captioner vllm: one for each actor of ``pools.caption``."""

    max_model_len: Annotated[int, Field(ge=128)] = 4096
    """Tokens of the longest conversation, image included."""
    max_num_seqs: Count = 64
    """Conversations at a time."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of a GPU's memory that the engine takes."""
    tensor_parallel_size: Count = 1
    """GPUs that share one model; ``pools.caption.num_gpus`` has to equal it."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Of the weights."""
    engine_args: dict[str, bool | int | float | str] = {}
    """Further arguments of vLLM's AsyncEngineArgs, such as quantization."""


class Endpoint(Section):
    """The server of captioner openai."""

    base_url: str = "http://localhost:8000/v1"
    """Up to and with /v1."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; a server without keys needs none."""
    concurrency: Count = 32
    """Conversations at a time, for each actor of ``pools.caption``."""
    requests_per_minute: Positive | None = None
    """At the most, for each actor; None: as fast as the server takes them."""
    timeout_seconds: Positive = 120.0
    """Of one request."""
    max_retries: Natural = 6
    """Of a request that the server could not take: busy, rate limit, dropped connection; with growing pauses."""


class Bank(Section):
    """Captions to the U-ViT's text tokens."""

    encoder: Literal["hashing", "open_clip", "transformers"] = "hashing"
    """hashing: deterministic vectors of words, without semantics, no download; the others need the extra clip."""
    model: str | None = None
    """For open_clip and transformers: a directory, or hf-hub:OWNER/NAME. The paper's is hf-hub:microsoft/
    BiomedCLIP-PubMedBERT_256-vit_base_patch16_224 with open_clip and max_tokens 256."""
    revision: str | None = None
    """Commit, tag or branch of a model of the hub; None: main, as the cache has it."""
    width: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Values in a token of the hashing encoder; the others bring their own."""
    max_tokens: Annotated[int, Field(ge=1, le=256)] = 48
    """A caption with more tokens is a reject, not a cut."""
    context_length: Literal["real", "full"] = "real"
    """full keeps the padding up to max_tokens, as the released code does; for open_clip and transformers."""


class Autoencoder(Section):
    """The latent space."""

    kind: Literal["kl", "pixels"] = "kl"
    """kl: a small AutoencoderKL fitted to the run's own training images; pixels: none."""
    channels: Count = 4
    """Of the latents."""
    factor: Literal[2, 4, 8] = 4
    """Image side over latent side."""
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 8
    """Channels of the first level."""
    steps: Count = 1000
    """Optimiser steps."""
    batch_size: Count = 8
    """Images in a step."""
    learning_rate: Positive = 1.5e-3
    """Peak."""


class PrototypeSection(Section):
    """The prototype condition (PCM)."""

    enabled: bool = True
    """False: no prototypes at all."""
    per_class: Count | None = None
    """None: two for each patch token, as in the released configuration."""
    alpha: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the prototypes' reconstruction loss."""
    target: Literal["stop_gradient", "released"] = "stop_gradient"
    """released keeps the authors' gradient on both sides, for comparison."""
    update_every: Count = 1
    """Prototypes move at every k-th step; gradients in between are discarded."""


class Model(Section):
    """The U-ViT."""

    patch_size: Count = 2
    """Latent pixels."""
    width: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Values in a token."""
    depth: Annotated[int, Field(ge=2, multiple_of=2)] = 4
    """Half of the blocks lie before the middle block, half behind it."""
    num_heads: Count = 2
    """Divides width."""
    prototypes: PrototypeSection = PrototypeSection()


class Diffusion(Section):
    """The forward process."""

    schedule: Literal["scaled_linear", "linear"] = "scaled_linear"
    """scaled_linear: Stable Diffusion's betas; linear: 1e-4..0.02, for pixels."""
    steps: Annotated[int, Field(ge=10)] = 1000
    """N."""


class Train(Section):
    """The optimisation."""

    steps: Count = 1250
    """Optimiser steps."""
    batch_size: Count = 64
    """Images in a step, over all workers."""
    learning_rate: Positive = 4e-3
    """Peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.03
    """AdamW; prototypes, positions, biases and norms are exempt."""
    betas: Annotated[tuple[Momentum, Momentum], Field(strict=False)] = (0.9, 0.9)
    """AdamW."""
    warmup_steps: Natural = 75
    """Linear."""
    decay: Literal["constant", "linear"] = "linear"
    """Of the learning rate after the warm-up; linear ends at zero."""
    max_gradient_norm: Positive = 1.0
    """Gradients are clipped to it."""
    ema_decay: Share = 0.9999
    """At step k the decay is at most (1+k)/(10+k)."""
    drop_probability: Share = 0.1
    """Label and text are dropped together."""
    flip: bool = True
    """Horizontal flips."""
    balance_classes: bool = False
    """Draw classes uniformly, as the released trainer does."""
    workers: Count = 2
    """Ray Train workers (DDP ranks)."""
    use_gpu: bool = False
    """One GPU a worker."""
    report_every: Count = 25
    """Steps between two points of the learning curve."""
    checkpoint_every: Count = 250
    """Steps."""
    keep_checkpoints: Count = 2
    """The newest ones."""
    validate_every: Natural = 0
    """Steps between validations; the averaged weights nearest to the validation split are kept. 0: the last ones."""
    validation_images: Annotated[int, Field(ge=2)] = 128
    """Images made and compared in a validation."""
    max_skipped_steps: Natural = 10
    """Steps in a row whose gradient is not finite are skipped up to this many; then training stops."""
    strict_checkpoints: bool = False
    """Fail on a damaged checkpoint instead of going on from the one before."""
    max_failures: Natural = 3
    """Restarts of the worker group from the last checkpoint."""
    grace_seconds: Annotated[float, Field(ge=0)] = 20
    """How long an interrupted run waits for a last checkpoint; below what the cluster grants before it kills."""


class Sample(Section):
    """Images from the trained model."""

    n_images: Annotated[int, Field(ge=2)] = 600
    """Generated images."""
    labels: Literal["training_prior", "uniform"] = "training_prior"
    """How often each class is asked for."""
    solver: Literal["dpm_solver_2m", "ddim"] = "dpm_solver_2m"
    """ODE solver."""
    num_inference_steps: Count = 20
    """Network evaluations, each with and without the condition where guidance is on."""
    guidance_scale: Annotated[float, Field(ge=0)] = 2.5
    """Read by ``guidance_convention``."""
    guidance_convention: Literal["excess", "classifier_free"] = "excess"
    """excess (the paper): c + s (c - u), 0 is none; classifier_free: u + s (c - u), 1 is none."""
    guidance_interval: Annotated[tuple[Natural, Natural] | None, Field(strict=False)] = None
    """First and last diffusion step with guidance; outside of it the unconditional half is spared. None: all."""
    batch_sizes: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (16,)
    """Rows of one network call, which is padded to the smallest that fits; an image with guidance takes two. With one
    size an image is the same bytes whatever is made beside it; with several, small loads are quicker."""
    weights: Literal["ema", "raw"] = "ema"
    """Which weights make the images."""


class Evaluate(Section):
    """The measurements."""

    features: Literal["random_convolutions"] = "random_convolutions"
    """Extractor of FID, KID, precision and recall."""
    classifier_steps: Count = 200
    """Of the small classifier that judges labels, trained on real images."""
    neighbours: Count = 3
    """k of precision and recall."""
    halves: Count = 20
    """Random halves behind the intervals of FID and KID."""
    control_rounds: Count = 20
    """Captions of its class that each image is compared with for the shuffled control."""
    resamples: Count = 1000
    """Bootstrap draws behind the intervals of caption adherence."""


class Config(Section):
    """The whole tree."""

    run: Run = Run()
    cluster: Cluster = Cluster()
    pools: Pools = Pools()
    data: Data = Data()
    caption: Caption = Caption()
    vllm: Vllm = Vllm()
    endpoint: Endpoint = Endpoint()
    bank: Bank = Bank()
    autoencoder: Autoencoder = Autoencoder()
    model: Model = Model()
    diffusion: Diffusion = Diffusion()
    train: Train = Train()
    sample: Sample = Sample()
    evaluate: Evaluate = Evaluate()

    @property
    def latent_side(self) -> int:
        """Side of the latent in latent pixels."""
        return self.data.image_size // (1 if self.autoencoder.kind == "pixels" else self.autoencoder.factor)

    @property
    def prompt_set(self) -> str:
        """The prompt set in force."""
        return self.caption.prompt_set or self.data.modality

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if found := list(find_misfits(self)):
            raise Misfits(found)
        return self
