"""Shared by all tests: a small demo run, made once, and the distribution of tests over workers of pytest-xdist."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, in children too
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers together use all cores

# Outside of the runs, so that a copied run still finds the images that its table names; the same in all workers.
PHANTOMS = Path(
    os.environ.setdefault("VAPRAY_TEST_PHANTOMS", f"{tempfile.gettempdir()}/vapray-test-phantoms-{os.getpid()}")
)
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
# One actor a stage: each further one takes seconds to import torch. The small run itself has pools as by default.
ONE_ACTOR = tuple(f"pools.{stage}.max_size=1" for stage in ("ingest", "caption", "sample", "evaluate", "downstream"))
ROOT = Path(__file__).parents[1]


def run_job(stage: str, *overrides: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m jobs.STAGE`` with the small settings, as a user runs it."""
    return _run([sys.executable, "-m", f"jobs.{stage}", f"run.root={root}", *SMALL, *ONE_ACTOR, *overrides])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first worker to ask for it makes; the others wait for it and share it."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / name, shared / f"{name}.made"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    """The root of a small run, finished on one core alone; tests must not change it."""
    one_core = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if shutil.which("taskset") else []

    def make(folder: Path) -> None:
        done = _run([*one_core, sys.executable, "-m", "jobs.pipeline", f"run.root={folder / 'run'}", *SMALL])
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "small", make) / "run"


@pytest.fixture(scope="session")
def small_checkpoint(small_run: Path) -> Path:
    """Its checkpoint, as ``Sampler.load`` takes it."""
    return next((small_run / "checkpoints").glob("*/files/final"))


@pytest.fixture(scope="session")
def job() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a job with the small settings."""
    return run_job


# What workers take first, in this order: long work that does not need the small run, the test that makes the small run,
# work to do meanwhile, and long work that needs it. Short tests come last, so that the workers end together.
FIRST = (
    "tests/captioning/test_vllm_faults.py",
    "tests/captioning/test_vaps.py",
    "tests/captioning/test_adversarial_picture.py",
    "tests/faults/test_storm.py::test_a_storm",
    "tests/cluster/test_lost_machines.py",
    "tests/cluster/test_jobs_from_outside.py",
    "tests/test_pipeline.py::test_every_stage_left_its_table",
    "tests/cluster/test_placement.py",
    "tests/training",
    "tests/latents",
    "tests/serve/test_service.py",
    "tests/object_storage/test_pipeline_on_s3.py",
    "tests/experiments/test_command.py",
    "tests/test_pipeline.py",
    "tests/faults",
    "tests/serve/test_rolling_update.py",
    "tests/serve/test_scaling.py",
    "tests/test_cli.py",
    "tests/evaluation",
    "tests/serve",
)
# Files in which no two tests share a fixture: workers share the file.
INDEPENDENT = (
    "tests/test_pipeline.py",
    "tests/test_cli.py",
    "tests/bad_inputs/test_cli.py",
    "tests/experiments/test_command.py",
    "tests/faults/test_training_faults.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of one file to one worker, since they share fixtures, and order them as ``FIRST`` says."""
    for item in items:
        if not item.get_closest_marker("xdist_group") and not item.nodeid.startswith(INDEPENDENT):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    return next((place for place, name in enumerate(FIRST) if item.nodeid.startswith(name)), len(FIRST))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the images, once no worker uses them."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(PHANTOMS, ignore_errors=True)
