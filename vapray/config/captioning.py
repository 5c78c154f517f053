"""Images to captions, and captions to text tokens."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import Count, Natural, Positive, Section, Share

__all__ = ["MEASURED_MODALITY", "Bank", "Caption", "Endpoint", "Vllm"]

MEASURED_MODALITY = "dermoscopy"
"""Modality whose attributes can be measured in an image, for captions, adherence and the audit."""


class Caption(Section):
    """Images to captions."""

    captioner: Literal["measured", "given", "drawn", "vllm", "openai"] = "measured"
    """measured (image analysis, dermoscopy only), given (your own captions), drawn (phantoms only: the truth), or a
    multimodal LLM: vllm (in the pool's actors) or openai (any endpoint that speaks that API)."""
    corrupted: Share = 0.0
    """A control, of captioner drawn: in captions of training images each attribute is with this probability another
    than the picture has, as if a captioner had hallucinated it. Those of other images stay true."""
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
    """Of a hub id, None: the newest. For openai what the captions' rows shall say, None: what the endpoint tells."""
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
    engine_args: dict[str, bool | int | float | str] = Field(default_factory=dict)
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
