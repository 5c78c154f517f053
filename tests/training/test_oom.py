"""Running out of memory becomes advice that can be followed."""

import re
import subprocess
import sys

import pytest
import torch

from tests.training.tiny import CLASSES, tiny_config
from vapray.models.network_cost import network_cost
from vapray.training import oom as memory
from vapray.training.forecast import peak_bytes
from vapray.training.oom import USABLE, largest_micro_batch, oom_error

CPU = torch.device("cpu")


def advice(error: BaseException, *overrides: str) -> str:
    config = tiny_config(*overrides)
    return str(oom_error(error, config, num_classes=CLASSES, device=CPU, workers=config.train.workers, sharing=1))


def test_an_allocation_that_the_machine_refuses_is_recognised():
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**55)
    said = advice(refused.value, "train.batch_size=8", "train.workers=2")
    assert "4 images at a time (train.batch_size 8 over 2 workers) do not fit in memory" in said
    assert f"when {2**57} bytes more were requested" in said
    assert (
        "train.gradient_accumulation_steps=2" in said
        and "train.batch_size=4" in said
        and "train.activation_checkpointing=true" in said
    )


def test_the_error_of_a_gpu_is_recognised():
    said = advice(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity"))
    assert "when 20.00 MiB more were requested" in said


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory")])
def test_other_errors_are_not_about_memory(error):
    assert oom_error(error, tiny_config(), num_classes=CLASSES, device=CPU, workers=1, sharing=1) is None


def test_what_is_advised_fits_by_arithmetic_and_one_more_does_not():
    config = tiny_config("train.batch_size=64")
    size = network_cost(config, CLASSES)
    capacity = int(peak_bytes(size, 11, config.train) / USABLE) + 1
    assert largest_micro_batch(config, CLASSES, capacity, 1) == 11
    assert largest_micro_batch(config, CLASSES, 2**60, 1) == 32, "what failed is not advised again"
    assert largest_micro_batch(config, CLASSES, 1000, 1) == 0


def memory_for(images: int, monkeypatch, *overrides: str) -> None:
    """Let the machine have memory for so many images at a time."""
    config = tiny_config(*overrides)
    needed = peak_bytes(network_cost(config, CLASSES), images, config.train) if images else 0
    monkeypatch.setattr(memory, "capacity_bytes", lambda device: int(needed / USABLE) + 1)


@pytest.mark.parametrize(
    ("images", "why"), [(0, "By arithmetic not even one fits"), (1, "One image at a time is the minimum")]
)
def test_where_one_image_is_too_much_a_smaller_network_is_advised(images, why, monkeypatch):
    memory_for(images, monkeypatch, "train.batch_size=1")
    said = advice(MemoryError(), "train.batch_size=1")
    assert said.endswith(
        f"memory. {why}: set train.activation_checkpointing=true, or lower model.width or model.depth."
    )


@pytest.mark.parametrize("left", [1, 2, 3, 4])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("recompute", ["false", "true"])
def test_the_configuration_takes_what_is_advised_to_a_run_that_has_lost_workers(left, parts, recompute, monkeypatch):
    overrides = ["train.batch_size=8", "train.workers=4", "train.min_workers=1"]
    overrides += [f"train.gradient_accumulation_steps={parts}", f"train.activation_checkpointing={recompute}"]
    memory_for(1, monkeypatch, *overrides)
    config = tiny_config(*overrides)
    said = str(oom_error(MemoryError(), config, num_classes=CLASSES, device=CPU, workers=left, sharing=1))
    if -(-8 // (left * parts)) == 1:
        assert "One image at a time is the minimum" in said
        return
    (ways,) = re.findall(r"By arithmetic 1 fit: (?:set )?(.*)\.$", said)
    for way in ways.replace(" (the same result)", "").split(" or "):
        if way.startswith("train."):
            advised = tiny_config(*overrides, *way.split()).train
            workers = min(left, advised.workers)
            at_once = -(-advised.batch_size // (workers * advised.gradient_accumulation_steps))
            assert at_once == 1 or way == "train.activation_checkpointing=true"
    assert ("(the same result)" in ways) == (left != 3)


LITTLE_MEMORY = """
import resource
import torch
from tests.training.tiny import CLASSES, run, tiny_config, tiny_state
from vapray.training.oom import oom_error

config = tiny_config("train.batch_size=2048", "model.depth=8", "model.width=64")
state = tiny_state(config)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
try:
    run(config, state)
except (RuntimeError, MemoryError) as error:
    print(type(error).__name__, state.step)
    print(oom_error(error, config, num_classes=CLASSES, device=torch.device("cpu"), workers=1, sharing=1))
"""


def test_a_process_that_runs_oom_error_in_a_step_says_what_to_change():
    done = subprocess.run([sys.executable, "-c", LITTLE_MEMORY], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    first, said = done.stdout.strip().splitlines()
    assert first == "RuntimeError 0", done.stdout
    assert re.search(r"2048 images at a time .* do not fit in memory, when \d+ bytes more were requested", said)
    fits = int(re.search(r"By arithmetic (\d+) fit", said)[1])
    assert 0 < fits <= 1024
    assert f"train.gradient_accumulation_steps={-(-2048 // fits)}" in said


def test_what_is_set_already_is_not_advised_and_what_accumulates_is_counted():
    said = advice(
        MemoryError(),
        "train.batch_size=64",
        "train.gradient_accumulation_steps=4",
        "train.activation_checkpointing=true",
    )
    assert "16 images at a time (train.batch_size 64 over 1 worker in 4 parts)" in said
    assert "train.gradient_accumulation_steps=8" in said
    assert "train.activation_checkpointing" not in said
