"""Conflicts between settings of captions, and caption settings that would have no effect."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from vapray.config.captioning import MEASURED_MODALITY
from vapray.config.misfit import Misfit

if TYPE_CHECKING:
    from vapray.config import Config

__all__ = ["find_caption_misfits"]

_WITH_TEXTS = {"folder"}
_MODALITIES = {"chestxray14": "chest_xray", "colonoscopy": "colonoscopy"}
"""Modality of the sources that have no other."""
_MODEL_NAMES = {"vllm": "a hub id or a folder", "openai": "as the endpoint calls it"}
_OF_ANSWERS = (
    "model", "revision", "temperature", "top_p", "max_tokens", "knowledge_variants", "json_answers", "retries",
)  # fmt: skip
_READERS = {
    "caption.captions": "given",
    "caption.corrupted": "drawn",
    **{f"caption.{name}": "vllm or caption.captioner=openai" for name in _OF_ANSWERS},
    "vllm": "vllm",
    "endpoint": "openai",
}
"""Settings and sections that only some captioners read, with the value of ``caption.captioner`` that reads them."""
_WITHOUT_STRATEGIES = {
    "measured": "the measured captioner runs vaps only; the other strategies prompt a model.",
    "drawn": "the drawn captioner runs vaps only; the other strategies prompt a model.",
    "given": "your own captions are used unchanged. Fix: remove it.",
}


def find_caption_misfits(config: "Config") -> Iterator[Misfit]:
    """Find every pair of caption settings that cannot work together."""
    yield from _modality(config)
    yield from _missing(config)
    yield from _unread(config)
    yield from _strategy(config)
    yield from _engine(config)
    yield from _prompt_set(config)


def _modality(config: "Config") -> Iterator[Misfit]:
    data, caption = config.data, config.caption
    if caption.captioner == "measured" and data.modality != MEASURED_MODALITY:
        others = "drawn, vllm, openai or given" if data.source == "phantom" else "vllm, openai or given"
        text = (
            f"caption.captioner = measured: measured captions exist for {MEASURED_MODALITY} only (data.modality = "
            f"{data.modality}). Fix: set caption.captioner to {others}."
        )
        yield Misfit(("caption.captioner", "data.modality"), text)
    if data.modality != (modality := _MODALITIES.get(data.source, data.modality)):
        text = f"data.modality = {data.modality}: data.source = {data.source}. Fix: set data.modality to {modality}."
        yield Misfit(("data.modality", "data.source"), text)


def _missing(config: "Config") -> Iterator[Misfit]:
    data, caption = config.data, config.caption
    if caption.captioner == "given" and not caption.captions and data.source not in _WITH_TEXTS:
        text = (
            "caption.captioner = given: needs caption.captions=FILE, a CSV with the columns image_id and caption; "
            f"data.source = {data.source} has no captions of its own."
        )
        yield Misfit(("caption.captioner", "caption.captions", "data.source"), text)
    if caption.captioner == "drawn" and data.source != "phantom":
        text = f"caption.captioner = drawn: only phantoms are drawn; data.source = {data.source} reads images."
        yield Misfit(("caption.captioner", "data.source"), text)
    if caption.corrupted and caption.captioner != "drawn":
        text = f"caption.corrupted = {caption.corrupted:g}: only caption.captioner=drawn has true attributes."
        yield Misfit(("caption.corrupted", "caption.captioner"), text)
    if caption.captioner in _MODEL_NAMES and not caption.model:
        text = f"caption.captioner = {caption.captioner}: needs caption.model, {_MODEL_NAMES[caption.captioner]}."
        yield Misfit(("caption.captioner", "caption.model"), text)


def _unread(config: "Config") -> Iterator[Misfit]:
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
                    f"Fix: set caption.captioner={captioners}."
                )
                yield Misfit((f"{section}.{field}", "caption.captioner"), text)


def _strategy(config: "Config") -> Iterator[Misfit]:
    caption = config.caption
    captioner, strategy = caption.captioner, caption.strategy
    if captioner in _WITHOUT_STRATEGIES and strategy != "vaps":
        text = f"caption.strategy = {strategy}: {_WITHOUT_STRATEGIES[captioner]}"
        yield Misfit(("caption.strategy", "caption.captioner"), text)
    if captioner == "given" and caption.omit:
        text = (
            f"caption.omit = {', '.join(caption.omit)}: caption.captioner = given uses your captions unchanged. "
            "Fix: remove the attributes from the captions, and remove caption.omit."
        )
        yield Misfit(("caption.omit", "caption.captioner"), text)
    if captioner not in _MODEL_NAMES:
        return
    if caption.json_answers and strategy not in ("direct", "vaps"):
        text = f"caption.json_answers = True: caption.strategy = {strategy} does not ask for JSON; direct and vaps do."
        yield Misfit(("caption.json_answers", "caption.strategy"), text)
    if caption.knowledge_variants > 1 and strategy not in ("impression+knowledge", "vaps"):
        variants = f"caption.knowledge_variants = {caption.knowledge_variants}"
        text = f"{variants}: caption.strategy = {strategy} asks for no knowledge; impression+knowledge and vaps do."
        yield Misfit(("caption.knowledge_variants", "caption.strategy"), text)


def _engine(config: "Config") -> Iterator[Misfit]:
    gpus, parallel = config.pools.caption.num_gpus, config.vllm.tensor_parallel_size
    if config.caption.captioner == "vllm" and gpus and gpus != parallel and (parallel > 1 or gpus > 1):
        text = f"vllm.tensor_parallel_size = {parallel}: pools.caption.num_gpus is {gpus:g}. Fix: make them equal."
        yield Misfit(("vllm.tensor_parallel_size", "pools.caption.num_gpus"), text)


def _prompt_set(config: "Config") -> Iterator[Misfit]:
    chosen, known = config.caption.prompt_set, get_args(type(config.data).model_fields["modality"].annotation)
    if chosen and chosen not in known and not chosen.endswith((".yaml", ".yml")):
        text = f"caption.prompt_set = {chosen!r}: expected one of {', '.join(known)}, or a path to a YAML file."
        yield Misfit(("caption.prompt_set",), text)
