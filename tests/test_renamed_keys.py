"""Renamed keys: old names give the same settings and one message each; both names are an error."""

import pytest

from vapray.config.renamed_keys import apply_renamed_keys
from vapray.errors import ConfigError

RENAMED = {"keys": "api_keys_file", "bank.encoder": "text_encoder.name", "models.*.wait": "models.*.max_queue"}


def applied(tree: dict) -> tuple[dict, list[str]]:
    messages: list[str] = []
    return apply_renamed_keys(tree, RENAMED, source="run.yaml", warn=messages.append), messages


def test_new_names_pass_unchanged():
    tree = {"api_keys_file": "a", "text_encoder": {"name": "clip"}, "models": [{"max_queue": 2}]}
    assert applied(tree) == (tree, [])


def test_old_names_are_moved_and_reported_once():
    tree = {"keys": "a", "bank": {"encoder": "clip", "size": 3}, "models": [{"wait": 2}, {"wait": 3}, {"name": "x"}]}
    found, messages = applied(tree)
    assert found == {
        "api_keys_file": "a",
        "bank": {"size": 3},
        "text_encoder": {"name": "clip"},
        "models": [{"max_queue": 2}, {"max_queue": 3}, {"name": "x"}],
    }
    assert [message.split()[1] for message in messages] == list(RENAMED)
    assert tree["keys"] == "a" and tree["models"][0] == {"wait": 2}


def test_wildcards_match_mappings_too():
    assert applied({"models": {"a": {"wait": 1}}})[0] == {"models": {"a": {"max_queue": 1}}}


@pytest.mark.parametrize("tree", [{}, {"bank": None}, {"bank": "x"}, {"models": 7}, {"models": [None]}, {"keyes": 1}])
def test_other_trees_are_left_to_the_validation(tree):
    assert applied(tree) == (tree, [])


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ({"keys": "a", "api_keys_file": "a"}, ("keys", "api_keys_file")),
        ({"models": [{}, {"wait": 1, "max_queue": 1}]}, ("models.1.wait", "models.1.max_queue")),
    ],
)
def test_both_names_are_an_error(tree, names):
    with pytest.raises(ConfigError, match=r"run\.yaml: {} and {} are both set".format(*names)):
        applied(tree)
