"""Reasons to run a stage again name the setting, or the input and the stage that writes it."""

from types import SimpleNamespace

from vapray.pipeline.invalidation import invalidation_reasons


def reasons(sections: dict[str, object], inputs: dict[str, str]) -> list[str]:
    last = SimpleNamespace(sections={"sample": {"seed": 1, "steps": 5}}, inputs={"checkpoints": "3f", "prompts": "aa"})
    return invalidation_reasons(last, sections, inputs)


def test_a_reason_names_the_setting_or_the_input_and_its_stage():
    same = {"sample": {"seed": 1, "steps": 5}}, {"checkpoints": "3f", "prompts": "aa"}
    assert reasons({"sample": {"seed": 2, "steps": 5}}, same[1]) == ["sample.seed: 1 -> 2"]
    found = reasons(same[0], {"checkpoints": "9a", "prompts": "bb"})
    assert found == ["input checkpoints (written by train): 3f -> 9a", "input prompts: aa -> bb"]
    assert reasons({"sample.seed": 2, "sample.steps": 5}, same[1]) == ["sample.seed: 1 -> 2"]
    assert reasons(*same) == ["output format of the stage (another version of vapray)"]
    assert invalidation_reasons(None, *same) == []
