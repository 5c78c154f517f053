"""Laws of ``data.phantom.unseen``: the test split has combinations that no other has, of values that all have."""

import pytest

from vapray.data.phantom.modalities import MODALITIES
from vapray.data.phantom.plan import plan_views
from vapray.errors import ConfigError

PAIRS = {"dermoscopy": ("shape", "colours"), "colonoscopy": ("shape", "colours")}


@pytest.mark.parametrize("modality", PAIRS)
def test_combinations_of_the_test_split_are_in_no_other_and_their_values_are(modality):
    views = plan_views(MODALITIES[modality], 3000, seed=0, unseen=PAIRS[modality])
    pairs = {
        split: {
            (view.class_name, *(view.attributes[name] for name in PAIRS[modality]))
            for view in views
            if (view.split == "test") == (split == "test")
        }
        for split in ("train", "test")
    }
    assert pairs["test"] and not pairs["test"] & pairs["train"]
    assert 0.15 < len(pairs["test"]) / len(pairs["test"] | pairs["train"]) < 0.45
    for place in (1, 2):
        assert {pair[place] for pair in pairs["test"]} <= {pair[place] for pair in pairs["train"]}


def test_names_that_cannot_be_and_classes_with_too_few_combinations_are_refused():
    with pytest.raises(ConfigError, match=r"data.phantom.unseen: size not accepted; accepted: shape"):
        plan_views(MODALITIES["dermoscopy"], 100, seed=0, unseen=("size",))
    with pytest.raises(ConfigError, match=r"class \w+ has no two combinations"):
        plan_views(MODALITIES["chest_xray"], 100, seed=0, unseen=("opacity_location",))
