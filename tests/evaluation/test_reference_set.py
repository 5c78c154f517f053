"""Laws of the real side: one evaluation measures it, the others wait for it and find it."""

import threading
from pathlib import Path

import pytest

from vapray.evaluation.reference_set import build_once
from vapray.store import lease
from vapray.store.run_store import Store
from vapray.store.version import Version


def version_in(folder: Path) -> Version:
    return Store(str(folder)).version("reference_measurements", "0" * 12)


def seal(version: Version) -> None:
    version.seal(stage="evaluate", sections={}, inputs={}, seconds=0.0, versions={}, notes={})


def test_what_nobody_has_made_is_ours_and_what_is_finished_is_not(tmp_path: Path) -> None:
    said: list[str] = []
    with build_once(version_in(tmp_path), said.append) as is_ours:
        assert is_ours
        seal(version_in(tmp_path))
    with build_once(version_in(tmp_path), said.append) as is_ours:
        assert not is_ours
    assert not said


@pytest.mark.parametrize("finishes", [True, False])
def test_while_another_run_makes_it_we_wait_and_take_over_only_if_it_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finishes: bool
) -> None:
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_ATTEMPTS", 0.02)
    told, answers = threading.Event(), []

    def wait() -> None:
        with build_once(version_in(tmp_path), lambda line: told.set()) as is_ours:
            answers.append(is_ours)

    other = threading.Thread(target=wait)
    with build_once(version_in(tmp_path), pytest.fail) as is_ours:
        assert is_ours
        other.start()
        assert told.wait(20), "the other run did not say that it waits"
        assert not answers
        if finishes:
            seal(version_in(tmp_path))
    other.join(20)
    assert answers == [not finishes]
