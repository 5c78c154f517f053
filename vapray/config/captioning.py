"""Settings of captions and of the text encoder."""

from operator import not_
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from vapray.config.section import ConfigSection, NonNegativeInt, PathText, PositiveFloat, PositiveInt, UnitInterval

__all__ = ["MEASURED_MODALITY", "Caption", "Endpoint", "TextEncoderSection", "Vllm"]

MEASURED_MODALITY = "dermoscopy"
"""Modality whose attributes can be measured in an image, for captions, adherence and the audit."""


class Caption(ConfigSection):
    """Settings of stage caption: image to caption."""

    captioner: Literal["measured", "precomputed", "ground_truth", "vllm", "openai"] = "measured"
    """Captioner. measured: classical image analysis, dermoscopy only; precomputed: your own captions; ground_truth:
    the true attributes of phantoms; vllm: a multimodal LLM in the pool's actors; openai: a multimodal LLM at any
    OpenAI-compatible endpoint."""
    # Left out of fingerprints at their defaults, so that finished runs of earlier versions are kept: detail,
    # corrupted_attributes, trust.
    detail: Annotated[Literal["plain", "rich"], Field(exclude_if=lambda detail: detail == "plain")] = "plain"
    """Detail of the captions. plain: shape, outline, size, colours, texture and skin; rich: also place, contrast,
    sharpness of the border, hue and lightness of the skin, hair, dark corners and further lesions, for captioner
    measured only."""
    corruption_rate: UnitInterval = 0.0
    """Probability, 0 to 1, that an attribute in a caption of a training image is replaced by a wrong value. An
    experimental control of hallucination, for captioner ground_truth only; captions of other images stay true."""
    corrupted_attributes: Annotated[tuple[str, ...], Field(strict=False, exclude_if=not_)] = ()
    """Attributes that ``corruption_rate`` applies to; empty: all."""
    trust: Annotated[Literal["all", "audited"], Field(exclude_if=lambda trust: trust == "all")] = "all"
    """Statements of captions that stage bank encodes for training and sampling. all: every statement; audited: those
    about attributes that the caption audit resolves to be better than chance on training images. Needs phantoms, or
    dermoscopy with captions that image analysis did not write."""
    strategy: Literal["direct", "impression", "impression+knowledge", "vaps"] = "vaps"
    """Prompt strategy. vaps asks all three questions; the others are for the ablation and need a multimodal LLM."""
    prompt_set: PathText | None = None
    """Name of a prompt set, or path of a YAML file; None: the prompt set of ``data.modality``."""
    omit: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Attributes of the prompt set that captions must not mention; empty: none."""
    captions_file: PathText | None = None
    """For captioner precomputed: CSV file with the columns image_id, or the image's file name, and caption; None: the
    column ``text`` of the dataset's table."""
    image_size: Annotated[int, Field(ge=32)] = 96
    """Side of the square image that the captioner sees, in pixels, at least 32; a multimodal LLM needs about 448."""
    model: PathText | None = None
    """Model. For vllm: hub id or folder; for openai: name of the model at the endpoint."""
    revision: str | None = None
    """Revision of the model. For a hub id: commit, tag or branch, None: the newest; for openai: the revision to record
    with captions, None: the one that the endpoint reports."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Sampling temperature of the LLM, 0 to 2; 0 takes the most likely token. Retries of unusable answers use 0.7 or
    more."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the probability mass that the LLM's tokens are drawn from (nucleus sampling), above 0 and at most 1."""
    max_tokens: Annotated[int, Field(ge=8)] = 512
    """Maximum length of an LLM answer about an image, in tokens, reasoning included. A longer answer ends with its last
    complete sentence, and its row has the finish_reason length."""
    knowledge_max_tokens: Annotated[int, Field(ge=8)] = 1024
    """Maximum length of an answer to the knowledge question, in tokens, reasoning included."""
    knowledge_variants: PositiveInt = 1
    """Number of answers to request to the knowledge question; each image draws one of them."""
    structured_output: bool = False
    """Decode the LLM's captions as JSON with one text per attribute."""
    retries: NonNegativeInt = 2
    """Maximum retries of an unusable answer; after them the image is a reject."""
    pilot: NonNegativeInt = 200
    """For vllm and openai: number of images to caption first. The stage stops there if more of them are rejects than
    ``run.max_reject_fraction`` allows. 0: no pilot."""


class Vllm(ConfigSection):
    """Settings of the engine of captioner vllm; each actor of ``pools.caption`` runs one engine."""

    max_model_len: Annotated[int, Field(ge=128)] = 4096
    """Maximum length of a conversation in tokens, image included."""
    max_num_seqs: PositiveInt = 64
    """Maximum number of concurrent conversations."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of a GPU's memory that the engine uses, above 0 and at most 1."""
    tensor_parallel_size: PositiveInt = 1
    """Number of GPUs that share one model; ``pools.caption.num_gpus`` must equal it."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Data type of the weights; auto: chosen by vLLM."""
    engine_args: dict[str, JsonValue] = Field(default_factory=dict)
    """Further arguments of vLLM's AsyncEngineArgs, such as quantization or mm_processor_kwargs: {max_pixels: 401408};
    trust_remote_code holds for the processor too."""


class Endpoint(ConfigSection):
    """Settings of the server of captioner openai."""

    base_url: str = "http://localhost:8000/v1"
    """Base URL of the API, including /v1."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the API key; a server without keys needs none."""
    concurrency: PositiveInt = 32
    """Maximum number of concurrent conversations per actor of ``pools.caption``."""
    requests_per_minute: PositiveFloat | None = None
    """Maximum request rate per actor, in requests per minute; None: no limit."""
    timeout_seconds: PositiveFloat = 120.0
    """Timeout of one request, in seconds."""
    max_retries: NonNegativeInt = 6
    """Maximum retries of a request that failed because of a busy server, a rate limit or a dropped connection; the
    pauses between them grow."""


class TextEncoderSection(ConfigSection):
    """Settings of the text encoder, which stage bank runs: captions to the U-ViT's text tokens."""

    encoder: Literal["hashing", "open_clip", "transformers"] = "hashing"
    """Text encoder. hashing: deterministic word vectors without semantics, no download; the others need the extra
    clip."""
    model: PathText | None = None
    """Model of open_clip and transformers: a directory, or hf-hub:OWNER/NAME. The paper's is
    hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224 with open_clip and max_tokens 256."""
    revision: str | None = None
    """Commit, tag or branch of a hub model; None: main, as cached."""
    width: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Width of a token of the hashing encoder, an even number; the other encoders have their own width."""
    max_tokens: Annotated[int, Field(ge=1, le=256)] = 48
    """Maximum length of a text in tokens, 1 to 256. A longer caption is cut at a sentence's end; a longer prompt is
    refused."""
    context_length: Literal["real", "full"] = "real"
    """Length of a context. real: the caption's tokens only; full: padded to max_tokens, as in the released code, for
    open_clip and transformers."""
