"""Shared by all tests: a small demo run, made once for all workers of pytest-xdist."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

from tests.distribution import GroupScheduling, place
from tests.faults.ray_processes import Driver, cluster

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
    "train.log_every=2",
    "train.checkpoint_every=4",
    "train.validate_every=6",
    "sample.n_images=20",
    "sample.num_inference_steps=3",
    "evaluate.classifier_steps=20",
    "evaluate.half_samples=4",
    "evaluate.bootstrap_samples=20",
    "caption_audit.rated_images=3",
)
# One actor a stage and one rank: each further process takes seconds to import torch.
ONE_ACTOR = (
    "train.workers=1",
    *(f"pools.{stage}.max_size=1" for stage in ("ingest", "caption", "sample", "evaluate", "downstream")),
)
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
        done = _run(
            [*one_core, sys.executable, "-m", "jobs.pipeline", f"run.root={folder / 'run'}", *SMALL, *ONE_ACTOR]
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "small", make) / "run"


@pytest.fixture(scope="session")
def small_checkpoint(small_run: Path) -> Path:
    """Its checkpoint, as ``Sampler.load`` takes it."""
    return next((small_run / "checkpoints").glob("*/files/final"))


@pytest.fixture(scope="session")
def job() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a job with the small settings, as a user does: with a Ray of its own."""
    return run_job


@pytest.fixture(scope="session")
def ray_address() -> Iterator[tuple[str, int]]:
    """A Ray that jobs of this process of pytest share, and the pid below which its workers are."""
    with cluster(num_cpus=8) as running:
        yield running


@pytest.fixture(scope="session")
def joined_job(
    ray_address: tuple[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a job as ``job`` does, but forked and on a running Ray, for tests of neither starts nor ends; saves 8 s."""

    def run(stage: str, *overrides: str, root: Path) -> subprocess.CompletedProcess[str]:
        log = tmp_path_factory.mktemp("job") / "log"
        words = [f"run.root={root}", *SMALL, *ONE_ACTOR, *overrides]
        driver = Driver(stage, words, log, *ray_address)
        code = driver.wait(580)
        if code is None:
            driver.kill()
        said = log.read_text()
        return subprocess.CompletedProcess(words, -9 if code is None else code, said, said)

    return run


@pytest.fixture
def with_bfloat16_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bfloat16 be used on this CPU, emulated if it has no units for it."""
    monkeypatch.setattr("vapray.models.precision._cpu_flags", lambda: frozenset({"amx_bf16"}))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch computes in one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests for the workers."""
    items.sort(key=lambda item: place(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    """Distribute the tests by groups."""
    return GroupScheduling(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the images, once no worker uses them."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(PHANTOMS, ignore_errors=True)
