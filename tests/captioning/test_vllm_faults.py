"""The captioning stage with the genuine engine on Ray: its engine, its actor and its driver are killed at work."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.ray_processes import gone_within, killed, lives
from vapray.store.tables import REJECT

from .conftest import ENGINE, SHORT

IMAGES = 480


class _Stage:
    """One start of a stage's command, with a Ray of its own."""

    def __init__(self, stage: str, words: list[str], log: Path) -> None:
        engine = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        environment = os.environ | engine
        self._log = log
        with log.open("a") as output:
            command = [sys.executable, "-m", f"jobs.{stage}", *words]
            self.process = psutil.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)

    def family(self, title: str = "") -> list[psutil.Process]:
        """Live descendants whose command begins so."""
        return [one for one in self.process.children(recursive=True) if lives(one) and _title(one).startswith(title)]

    def wait_until(self, holds: Callable[[], Any]) -> Any:
        titles: set[str] = set()
        longest, looked = 0.0, time.monotonic()
        while not (found := holds()):
            titles |= {_title(one) for one in self.family()}
            now = time.monotonic()
            longest, looked = max(longest, now - looked), now
            seen = f"{sorted(titles)}, looked at every {longest:.1f} s"
            assert self.process.poll() is None, f"ended too soon; of {seen}:\n{self._log.read_text()}"
            time.sleep(0.02)
        return found


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.slow
def test_after_kills_at_work_every_image_has_one_caption_or_one_reject(tiny_vlm: Path, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    common = [f"run.root={run}", f"data.root={tmp_path / 'phantoms'}", f"data.phantom.n_images={IMAGES}"]
    asked = ["caption.captioner=vllm", f"caption.model={tiny_vlm}", *SHORT, "caption.image_size=112"]
    asked += ["run.max_reject_fraction=1"]  # what a tiny model says of phantoms is anybody's guess
    pool = [f"pools.caption.{key}" for key in ("batch_rows=4", "min_size=1", "max_size=1", "max_concurrency=2")]
    words = [*common, *asked, *pool, *ENGINE]
    assert _Stage("ingest", common, log).process.wait(120) == 0

    def parts() -> int:
        return len(list(run.glob("captions/*/parts/*.parquet")))

    stage = _Stage("caption", words, log)
    seen: set[psutil.Process] = set()
    for title in ("VLLM::EngineCore", "ray::MapWorker"):
        before = parts()
        # Behind the engine's death its actor is replaced: for a moment there may be none.
        at_work = stage.wait_until(lambda before=before, title=title: parts() >= before + 2 and stage.family(title))
        seen |= set(stage.family())
        assert 4 * parts() < IMAGES
        assert killed(at_work[0]), f"{title} was at work"
    before = parts()
    stage.wait_until(lambda: parts() >= before + 2)
    seen |= set(stage.family())
    assert 4 * parts() < IMAGES
    assert any(_title(one).startswith("VLLM") for one in seen)
    assert killed(stage.process)
    assert not gone_within(30, seen), "nothing of a killed driver's lives on"

    again = _Stage("caption", words, log)
    assert again.process.wait(400) == 0, log.read_text()
    _check_table(run)
    _check_audit(run, [*words, "caption_audit.images=24", "caption_audit.repeated_images=8"], log)


def _check_table(run: Path) -> None:
    (manifest,) = run.glob("captions/*/manifest.json")
    script = (
        "from vapray.store.run_store import Store; import sys;"
        "t = Store(sys.argv[1]).version('captions', sys.argv[2]).read(rejects=True);"
        f"print(len(t), len(set(t['image_id'].to_pylist())), t['{REJECT}'].null_count, t['caption'].null_count)"
    )
    command = [sys.executable, "-c", script, str(run), manifest.parent.name]
    rows, ids, usable, without = map(int, subprocess.check_output(command, text=True).split())
    assert rows == ids == IMAGES
    assert usable + without == IMAGES


def _check_audit(run: Path, words: list[str], log: Path) -> None:
    """The same engine captions some pictures again."""
    assert _Stage("audit", words, log).process.wait(400) == 0, log.read_text()
    found = json.loads((run / "audit" / "audit.json").read_text())
    assert found["findings"]["captions"] == 24
    assert 0 < found["consistency"]["pictures"] <= 8
    assert found["reference"] == "truth"
