"""What tests share: a demo run small enough for seconds, made once."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, in children too

# Outside of the runs, so that a copied run still finds the pictures that its table names.
PHANTOMS = Path(tempfile.gettempdir()) / f"vapray-test-phantoms-{os.getpid()}"
SMALL = (
    f"data.root={PHANTOMS}",
    "pools.caption.batch_rows=16",
    "data.phantom.n_images=90",
    "autoencoder.steps=12",
    "autoencoder.batch_size=4",
    "model.width=16",
    "model.depth=2",
    "model.num_heads=2",
    "train.steps=12",
    "train.batch_size=8",
    "train.warmup_steps=2",
    "train.report_every=2",
    "train.checkpoint_every=4",
    "train.validate_every=6",
    "sample.n_images=20",
    "sample.num_inference_steps=3",
    "evaluate.classifier_steps=20",
    "evaluate.halves=4",
    "evaluate.resamples=20",
    "audit.rated_images=3",
)
ROOT = Path(__file__).parents[1]


def run_job(stage: str, *overrides: str, root: Path, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """``python -m jobs.STAGE`` with the small settings, as a user runs it."""
    command = [*prefix, sys.executable, "-m", f"jobs.{stage}", f"run.root={root}", *SMALL, *overrides]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Iterator[Path]:
    """The root of a small run, finished on one core alone; not to be changed by tests."""
    root = tmp_path_factory.mktemp("small") / "run"
    one_core = ("taskset", "-c", str(min(os.sched_getaffinity(0)))) if shutil.which("taskset") else ()
    done = run_job("pipeline", root=root, prefix=one_core)
    assert done.returncode == 0, done.stdout + done.stderr
    yield root
    shutil.rmtree(PHANTOMS)


@pytest.fixture(scope="session")
def small_checkpoint(small_run: Path) -> Path:
    """Its checkpoint, as ``Sampler.load`` takes it."""
    return next((small_run / "checkpoints").glob("*/files/final"))


@pytest.fixture(scope="session")
def job() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a job with the small settings."""
    return run_job
