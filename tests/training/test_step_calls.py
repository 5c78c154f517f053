"""A step reads no value of the device, makes few calls and no new graphs."""

import argparse

import pytest
import torch

from tests.benchmarks.dispatch_counts import META, Waits
from tests.benchmarks.step_calls import compiled_graphs, eager_calls, engine_waits, train_waits
from tests.benchmarks.train_step import config_of
from vapray.config import Config

SIZES = argparse.Namespace(width=32, depth=4, heads=2, batch=4)
OPEN_CLIP = ("text_encoder.encoder=open_clip", "text_encoder.model=anywhere", "text_encoder.context_length=full")
KINDS = [
    (),
    ("train.optimizer=muon", "train.muon_weight_decay=0.01"),
    ("model.null_text=empty", *OPEN_CLIP),
    ("model.condition=class", "model.prototypes.enabled=false"),
    ("train.cbdm_weight=0.001", "train.gradient_accumulation_steps=2"),
    ("model.qk_norm=true", "model.rope=true", "model.mlp=swiglu", "model.time_mlp=true"),
    ("diffusion.path=flow", "diffusion.prediction=x", "diffusion.loss=v"),
]


def config_with(*changes: str) -> Config:
    return config_of(SIZES, "train.precision=bfloat16", "train.prefetch=0", *changes)


@pytest.mark.parametrize(
    "read",
    [float, bool, torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu, lambda x: x[x > 0], torch.Tensor.nonzero],
)
def test_every_way_to_read_a_value_is_counted(read) -> None:
    scalar = torch.zeros((), device=META) if read in (float, bool, torch.Tensor.item) else torch.zeros(3, device=META)
    with Waits() as waits:
        read(scalar)
    assert waits.count == 1


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_waits_for_its_device(kind: tuple[str, ...]) -> None:
    config = config_with(*kind)
    assert train_waits(config) == 0
    if "model.condition=class" not in kind:
        assert engine_waits(config) == (0, 0)


def test_a_step_makes_few_calls() -> None:
    """The limit is 4 % above what is needed today; one cast for each weight and its gradient would add 90."""
    assert eager_calls(config_with()).total() <= 358


@pytest.mark.slow
def test_captions_of_any_length_and_dropped_ones_make_no_new_graph() -> None:
    assert compiled_graphs(config_with("train.compile=true"), 30) == (0, 0)


def test_a_copy_to_the_device_that_blocks_is_counted() -> None:
    with Waits() as waits:
        torch.zeros(3).to(META, non_blocking=True)
        assert waits.count == 0
        torch.zeros(3).to(META)
    assert waits.count == 1
