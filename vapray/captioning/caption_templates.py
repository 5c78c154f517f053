"""Text generation from attributes, by templates of the prompt set.

``[ ... ]`` is removed if an attribute inside it is unknown; ``a(n)`` becomes the article of the next word.
"""

import re
from collections.abc import Collection, Sequence

import numpy as np

from vapray.captioning.attributes import Attribute, Attributes
from vapray.captioning.prompt_set import AttributeSpec, PromptSet, Template

SLOT = re.compile(r"\{(\w+)\}")
OPTIONAL = re.compile(r"\[([^\[\]]*)\]")


def rounded_share(share: float) -> float:
    """Round as people estimate: to 5 points from 10 % up, to 2 below, only nothing to nothing."""
    if share >= 0.09:
        return round(share * 20) / 20
    return max(0.02, round(share * 50) / 50) if share > 0 else 0.0


def render_impression(
    attributes: Attributes, prompt_set: PromptSet, rng: np.random.Generator, omit: Collection[str] = ()
) -> str:
    """Write t1, the impression: what is seen, in full sentences, without conclusions and without ``omit``."""
    return _write(prompt_set.texts.impression, attributes, prompt_set, rng, omit)


def render_caption(
    attributes: Attributes, prompt_set: PromptSet, rng: np.random.Generator, omit: Collection[str] = ()
) -> str:
    """Write t_mix, the caption: every attribute once, short and concise, but for those in ``omit``."""
    return _write(prompt_set.texts.reasoning, attributes, prompt_set, rng, omit)


def pick_knowledge(prompt_set: PromptSet, number: int) -> tuple[str, str]:
    """Return (knowledge_id, t2): one of the modality's texts on how its attributes may show."""
    variant = number % len(prompt_set.texts.knowledge)
    return f"{prompt_set.name}.{prompt_set.version}.{variant}", prompt_set.texts.knowledge[variant]


def _write(
    templates: Sequence[Template],
    attributes: Attributes,
    prompt_set: PromptSet,
    rng: np.random.Generator,
    omit: Collection[str],
) -> str:
    fitting = next(t for t in templates if all(attributes.get(k) == v for k, v in t.when.items()))
    text = str(rng.choice(fitting.texts))
    words = {
        name: _word(spec, attributes[name], rng)
        for name, spec in prompt_set.attributes.items()
        if name in attributes and name not in omit
    }
    return _polish(_fill(text, {name: word for name, word in words.items() if word}))


def _fill(template: str, words: dict[str, str]) -> str:
    """Fill the slots; drop the optional parts that lack a word, and slots outside them."""

    def part(match: re.Match[str]) -> str:
        inside = match.group(1)
        return inside if all(slot in words for slot in SLOT.findall(inside)) else ""

    return SLOT.sub(lambda slot: words.get(slot.group(1), ""), OPTIONAL.sub(part, template))


def _polish(text: str) -> str:
    """Choose the articles, fix the spaces, start sentences with a capital."""
    text = re.sub(r"\s+([,.;:])", r"\1", re.sub(r"\s+", " ", text)).strip(" ,;:")
    text = re.sub(r"\ba\(n\) (?=(\w))", lambda m: "an " if m.group(1) in "aeiou" else "a ", text)
    return re.sub(r"(^|\. )([a-z])", lambda m: m.group(1) + m.group(2).upper(), text)


def _word(spec: AttributeSpec, value: Attribute, rng: np.random.Generator) -> str:
    if isinstance(value, str):
        return str(rng.choice(spec.words[value])) if spec.words[value] else ""
    if isinstance(value, tuple):
        return _listed([str(rng.choice(spec.words[member])) for member in rng.permutation(list(value))])
    share = rounded_share(value)
    worded = str(rng.choice(spec.words[spec.worded(share)]))
    return str(rng.choice(spec.writes)).format(percent=round(100 * share), worded=worded)


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
