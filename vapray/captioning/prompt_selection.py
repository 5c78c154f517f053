"""Prompt set of a configuration."""

from collections.abc import Iterator

from vapray.captioning.prompt_set import PromptSet, load_prompt_set
from vapray.config import Config
from vapray.errors import ConfigError

__all__ = ["configured_prompt_set", "select_prompt_set"]

_WORDING = ("measured", "ground_truth")
"""Captioners that word the attributes of ``data.modality`` by the prompt set's texts."""


def configured_prompt_set(config: Config) -> PromptSet:
    """Load the prompt set of ``caption.prompt_set``, or of ``data.modality``, with ``caption.detail``.

    Raises:
        ConfigError: the prompt set is missing, cannot be read, or has no such detail.
    """
    return load_prompt_set(config.prompt_set, config.caption.detail)


def select_prompt_set(config: Config) -> PromptSet:
    """Load the prompt set of a configuration, checked against its captioner.

    Raises:
        ConfigError: the prompt set is missing, lacks an attribute to omit or to corrupt, or cannot word the
            captioner's attributes.
    """
    caption, prompt_set = config.caption, configured_prompt_set(config)
    for setting in ("omit", "corrupted_attributes"):
        if unknown := set(getattr(caption, setting)) - set(prompt_set.attributes):
            known, names = ", ".join(prompt_set.attributes), ", ".join(sorted(unknown))
            raise ConfigError(f"caption.{setting}: unknown {names}; {config.prompt_set} has {known}.")
    if caption.captioner in _WORDING and (problem := next(_problems(prompt_set, config.data.modality), None)):
        raise ConfigError(
            f"caption.captioner = {caption.captioner} with the prompt set {config.prompt_set}: {problem}. Fix: set "
            f"caption.prompt_set to {config.data.modality}, or caption.captioner to vllm, openai or precomputed."
        )
    return prompt_set


def _problems(prompt_set: PromptSet, modality: str) -> Iterator[str]:
    """Reasons why the prompt set cannot word the modality's attributes."""
    known = load_prompt_set(modality, prompt_set.detail).attributes
    for name, spec in prompt_set.attributes.items():
        if name not in known:
            yield f"the attribute {name} is unknown; {modality} has {', '.join(known)}"
        elif spec.kind != known[name].kind or not set(spec.words) >= set(known[name].words):
            yield f"the attribute {name} needs the kind {known[name].kind} and words for {', '.join(known[name].words)}"
        elif spec.kind == "share" and not spec.writes:
            yield f"the attribute {name} has no words in writes"
    texts = prompt_set.texts
    for part, templates in (("impression", texts.impression), ("reasoning", texts.reasoning)):
        if not any(template.texts and not template.when for template in templates):
            yield f"texts.{part} has no template without a condition"
    if not texts.knowledge:
        yield "texts.knowledge is empty"
