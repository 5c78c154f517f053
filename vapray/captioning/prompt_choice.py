"""Which prompt set a configuration chooses, and whether its captioner can work with it."""

from collections.abc import Iterator

from vapray.captioning.prompt_set import PromptSet, Template, known_prompt_sets, load_prompt_set
from vapray.config import Config
from vapray.errors import ConfigError

__all__ = ["prompt_set_of"]

_WORDING = ("measured", "drawn")
"""Captioners that word attributes by the prompt set's texts."""


def prompt_set_of(config: Config) -> PromptSet:
    """The prompt set in force.

    Raises:
        ConfigError: there is none, it lacks an attribute to omit, or the captioner cannot measure and word for it.
    """
    caption, prompt_set = config.caption, load_prompt_set(config.prompt_set)
    if unknown := set(caption.omit) - set(prompt_set.attributes):
        known = ", ".join(prompt_set.attributes)
        raise ConfigError(f"caption.omit: unknown {', '.join(sorted(unknown))}; {config.prompt_set} has {known}.")
    if caption.captioner in _WORDING and (lacks := next(_unmeasurable(prompt_set), None)):
        raise ConfigError(
            f"caption.captioner = {caption.captioner} with the prompt set {config.prompt_set}: {lacks}. Take one of "
            f"{', '.join(known_prompt_sets())}, or set caption.captioner to one that asks a model (vllm, openai) or "
            "takes your own captions (given)."
        )
    return prompt_set


def _unmeasurable(prompt_set: PromptSet) -> Iterator[str]:
    """Why its attributes cannot be measured and worded; the sets that come with vapray are those that can."""
    if prompt_set.name not in known_prompt_sets():
        yield f"nothing is measured for the name {prompt_set.name!r}"
        return
    measured = load_prompt_set(prompt_set.name).attributes
    for name, spec in prompt_set.attributes.items():
        if name not in measured:
            yield f"the attribute {name} is not measured; {', '.join(measured)} are"
        elif spec.kind != measured[name].kind or not set(spec.words) >= set(measured[name].words):
            wanted = f"{measured[name].kind} of {', '.join(measured[name].words)}"
            yield f"the attribute {name} is measured as a {wanted}, which its words are not"
        elif spec.kind == "share" and not spec.writes:
            yield f"the attribute {name} has no words in writes"
    texts = prompt_set.texts
    for part, templates in (("impression", texts.impression), ("reasoning", texts.reasoning)):
        if not any(_fits_all(template) for template in templates):
            yield f"no texts.{part} without a condition to write captions with"
    if not texts.knowledge:
        yield "no texts.knowledge"


def _fits_all(template: Template) -> bool:
    return not template.when and bool(template.texts)
