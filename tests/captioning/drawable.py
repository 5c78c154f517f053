"""Hypothesis strategies: any attributes that a prompt set can express."""

from hypothesis import strategies as st

from vapray.captioning.attributes import Attributes
from vapray.captioning.prompt_set import AttributeSpec, PromptSet

MIN_SHARE, MAX_SHARE = 0.02, 0.6


def drawable(prompt_set: PromptSet) -> st.SearchStrategy[Attributes]:
    """Any combination of values, with what the values imply."""
    free = {name: _values(spec) for name, spec in prompt_set.attributes.items()}
    return st.fixed_dictionaries(free).map(lambda attributes: _consistent(attributes, prompt_set))


def _values(spec: AttributeSpec) -> st.SearchStrategy:
    if spec.kind == "share":
        return st.floats(MIN_SHARE, MAX_SHARE)
    if spec.kind == "set":
        return st.sets(st.sampled_from(spec.values), min_size=1, max_size=4).map(lambda chosen: tuple(sorted(chosen)))
    return st.sampled_from(spec.values)


def _consistent(attributes: Attributes, prompt_set: PromptSet) -> Attributes:
    """A density of none goes with a location of none and the other way round."""
    if attributes.get("opacity_density") == "none":
        attributes = attributes | {"opacity_location": "none"}
    for name, by_value in prompt_set.implies.items():
        attributes = attributes | by_value.get(attributes[name], {})
    return attributes
