"""Conflicts between settings of captions, and caption settings that would have no effect."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from vapray.config.captioning import MEASURED_MODALITY
from vapray.config.conflict import ConfigConflict

if TYPE_CHECKING:
    from vapray.config import Config

__all__ = ["find_caption_conflicts", "unread_settings"]

_WITH_TEXTS = {"folder"}
_MODALITIES = {"chestxray14": "chest_xray", "colonoscopy": "colonoscopy"}
"""Modality of the sources that have no other."""
_MODEL_NAMES = {"vllm": "a hub id or a folder", "openai": "as the endpoint calls it"}
_OF_ANSWERS = (
    "model", "revision", "temperature", "top_p", "max_tokens", "knowledge_max_tokens", "knowledge_variants",
    "structured_output", "retries", "pilot",
)  # fmt: skip
_READERS = {
    "caption.captions_file": ("precomputed",),
    "caption.corruption_rate": ("ground_truth",),
    "caption.corrupted_attributes": ("ground_truth",),
    **{f"caption.{name}": ("vllm", "openai") for name in _OF_ANSWERS},
    "vllm": ("vllm",),
    "endpoint": ("openai",),
}
"""Settings and sections that only some captioners read, with the values of ``caption.captioner`` that read them."""
_WITHOUT_STRATEGIES = {
    "measured": "the measured captioner runs vaps only; the other strategies prompt a model.",
    "ground_truth": "the ground_truth captioner runs vaps only; the other strategies prompt a model.",
    "precomputed": "your own captions are used unchanged. Fix: remove it.",
}


def unread_settings(captioner: str) -> frozenset[str]:
    """Return the settings and sections that only other values of ``caption.captioner`` read."""
    return frozenset(key for key, readers in _READERS.items() if captioner not in readers)


def find_caption_conflicts(config: "Config") -> Iterator[ConfigConflict]:
    """Find every pair of caption settings that cannot work together."""
    yield from _modality(config)
    yield from _missing(config)
    yield from _corruption(config)
    yield from _trust(config)
    yield from _unread(config)
    yield from _strategy(config)
    yield from _engine(config)
    yield from _prompt_set(config)
    yield from _detail(config)


def _modality(config: "Config") -> Iterator[ConfigConflict]:
    data, caption = config.data, config.caption
    if caption.captioner == "measured" and data.modality != MEASURED_MODALITY:
        others = (
            "ground_truth, vllm, openai or precomputed" if data.source == "phantom" else "vllm, openai or precomputed"
        )
        text = (
            f"caption.captioner = measured: measured captions exist for {MEASURED_MODALITY} only (data.modality = "
            f"{data.modality}). Fix: set caption.captioner to {others}."
        )
        yield ConfigConflict(("caption.captioner", "data.modality"), text)
    if data.modality != (modality := _MODALITIES.get(data.source, data.modality)):
        text = f"data.modality = {data.modality}: data.source = {data.source}. Fix: set data.modality to {modality}."
        yield ConfigConflict(("data.modality", "data.source"), text)


def _missing(config: "Config") -> Iterator[ConfigConflict]:
    data, caption = config.data, config.caption
    if caption.captioner == "precomputed" and not caption.captions_file and data.source not in _WITH_TEXTS:
        text = (
            "caption.captioner = precomputed: needs caption.captions_file=FILE, a CSV with the columns image_id and "
            f"caption; data.source = {data.source} has no captions of its own."
        )
        yield ConfigConflict(("caption.captioner", "caption.captions_file", "data.source"), text)
    if caption.captioner == "ground_truth" and data.source != "phantom":
        text = f"caption.captioner = ground_truth: only phantoms are drawn; data.source = {data.source} reads images."
        yield ConfigConflict(("caption.captioner", "data.source"), text)
    if caption.captioner in _MODEL_NAMES and not caption.model:
        text = f"caption.captioner = {caption.captioner}: needs caption.model, {_MODEL_NAMES[caption.captioner]}."
        yield ConfigConflict(("caption.captioner", "caption.model"), text)


def _corruption(config: "Config") -> Iterator[ConfigConflict]:
    caption = config.caption
    if caption.corruption_rate and caption.captioner != "ground_truth":
        rate = f"caption.corruption_rate = {caption.corruption_rate:g}"
        text = f"{rate}: only caption.captioner=ground_truth has true attributes."
        yield ConfigConflict(("caption.corruption_rate", "caption.captioner"), text)
    if caption.corrupted_attributes and not caption.corruption_rate:
        names = f"caption.corrupted_attributes = {', '.join(caption.corrupted_attributes)}"
        text = f"{names}: caption.corruption_rate is 0. Fix: set caption.corruption_rate, or remove the attributes."
        yield ConfigConflict(("caption.corrupted_attributes", "caption.corruption_rate"), text)


def _trust(config: "Config") -> Iterator[ConfigConflict]:
    """Find captions whose attributes nothing independent of them can check."""
    data, caption = config.data, config.caption
    if caption.trust != "audited" or data.source == "phantom":
        return
    if data.modality != MEASURED_MODALITY:
        text = (
            f"caption.trust = audited: attributes are measured in {MEASURED_MODALITY} and known of phantoms only "
            f"(data.modality = {data.modality}). Fix: set caption.trust=all."
        )
        yield ConfigConflict(("caption.trust", "data.modality"), text)
    elif caption.captioner == "measured":
        text = (
            "caption.trust = audited: captions of caption.captioner = measured would be audited by the measurement "
            "that wrote them. Fix: set caption.trust=all, or caption.captioner to vllm, openai or precomputed."
        )
        yield ConfigConflict(("caption.trust", "caption.captioner"), text)


def _unread(config: "Config") -> Iterator[ConfigConflict]:
    """Find changed settings that the default captioner does not read, unless a captioner is named."""
    if "captioner" in config.caption.model_fields_set:
        return
    for key, captioners in _READERS.items():
        section, _, name = key.partition(".")
        found = getattr(config, section)
        for field in [name] if name else type(found).model_fields:
            value = getattr(found, field)
            if value != type(found).model_fields[field].get_default(call_default_factory=True):
                text = (
                    f"{section}.{field} = {value}: the default captioner, measured, does not read it. "
                    f"Fix: set {' or '.join(f'caption.captioner={name}' for name in captioners)}."
                )
                yield ConfigConflict((f"{section}.{field}", "caption.captioner"), text)


def _strategy(config: "Config") -> Iterator[ConfigConflict]:
    caption = config.caption
    captioner, strategy = caption.captioner, caption.strategy
    if captioner in _WITHOUT_STRATEGIES and strategy != "vaps":
        text = f"caption.strategy = {strategy}: {_WITHOUT_STRATEGIES[captioner]}"
        yield ConfigConflict(("caption.strategy", "caption.captioner"), text)
    if captioner == "precomputed" and caption.omit:
        text = (
            f"caption.omit = {', '.join(caption.omit)}: caption.captioner = precomputed uses your captions unchanged. "
            "Fix: remove the attributes from the captions, and remove caption.omit."
        )
        yield ConfigConflict(("caption.omit", "caption.captioner"), text)
    if captioner not in _MODEL_NAMES:
        return
    if caption.structured_output and strategy not in ("direct", "vaps"):
        asks = f"caption.strategy = {strategy} does not ask for JSON"
        text = f"caption.structured_output = True: {asks}; direct and vaps do."
        yield ConfigConflict(("caption.structured_output", "caption.strategy"), text)
    if caption.knowledge_variants > 1 and strategy not in ("impression+knowledge", "vaps"):
        variants = f"caption.knowledge_variants = {caption.knowledge_variants}"
        text = f"{variants}: caption.strategy = {strategy} asks for no knowledge; impression+knowledge and vaps do."
        yield ConfigConflict(("caption.knowledge_variants", "caption.strategy"), text)


def _engine(config: "Config") -> Iterator[ConfigConflict]:
    gpus, parallel = config.pools.caption.num_gpus, config.vllm.tensor_parallel_size
    if config.caption.captioner == "vllm" and gpus and gpus != parallel and (parallel > 1 or gpus > 1):
        text = f"vllm.tensor_parallel_size = {parallel}: pools.caption.num_gpus is {gpus:g}. Fix: make them equal."
        yield ConfigConflict(("vllm.tensor_parallel_size", "pools.caption.num_gpus"), text)


def _prompt_set(config: "Config") -> Iterator[ConfigConflict]:
    chosen, known = config.caption.prompt_set, get_args(type(config.data).model_fields["modality"].annotation)
    if chosen and chosen not in known and not chosen.endswith((".yaml", ".yml")):
        text = f"caption.prompt_set = {chosen!r}: expected one of {', '.join(known)}, or a path to a YAML file."
        yield ConfigConflict(("caption.prompt_set",), text)


def _detail(config: "Config") -> Iterator[ConfigConflict]:
    caption = config.caption
    if caption.detail == "plain":
        return
    if caption.captioner != "measured":
        text = (
            f"caption.detail = {caption.detail}: caption.captioner = {caption.captioner} writes plain captions only. "
            "Fix: set caption.captioner to measured, or remove caption.detail."
        )
        yield ConfigConflict(("caption.detail", "caption.captioner"), text)
    if caption.prompt_set not in (None, MEASURED_MODALITY):
        text = (
            f"caption.detail = {caption.detail}: only the prompt set {MEASURED_MODALITY} has rich captions "
            f"(caption.prompt_set = {caption.prompt_set}). Fix: remove caption.prompt_set or caption.detail."
        )
        yield ConfigConflict(("caption.detail", "caption.prompt_set"), text)
