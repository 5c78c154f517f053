"""Laws of one optimizer step: how it is worked out does not decide what it is."""

import pytest
import torch

from tests.training.tiny import SPACE, tiny_config, tiny_rows, tiny_state
from vapray.errors import ConfigError
from vapray.training.batches import Batches, micro_batches
from vapray.training.state import TrainingState
from vapray.training.step import OptimizerStep, StepResult

CPU = torch.device("cpu")
ROPE = ("model.rope=true",)
UNET = ("model.network=unet", "model.condition=class", "model.prototypes.enabled=false", "model.width=32")


def after(*changes: str, steps: int = 2) -> tuple[TrainingState, StepResult]:
    """The state behind some steps, and the last of them."""
    config = tiny_config(*changes)
    state, batches = tiny_state(config), Batches(config, tiny_rows(), SPACE, rank=0, world=1)
    step = OptimizerStep(config, state, CPU)
    for number in range(steps):
        taken = step.step(micro_batches(batches.at(number), config.train, config.text_encoder.max_tokens))
        state.step += 1
    return state, taken


def assert_alike(state: TrainingState, other: TrainingState, *, atol: float) -> None:
    for (name, one), two in zip(state.model.named_parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=atol, msg=name)


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_micro_batches_add_up_to_the_batch(parts: int) -> None:
    # At the first step AdamW moves every weight by the learning rate, whatever its gradient: a sign that flips shows.
    whole, taken = after("train.learning_rate=1e-4", "train.cbdm_weight=0.001")
    split, also = after(
        "train.learning_rate=1e-4", "train.cbdm_weight=0.001", f"train.gradient_accumulation_steps={parts}"
    )
    assert also.norm.value() == pytest.approx(taken.norm.value(), rel=1e-4)
    for name in ("total", "denoising", "reconstruction", "balancing"):
        torch.testing.assert_close(getattr(also.losses, name), getattr(taken.losses, name), rtol=1e-5, atol=1e-7)
    assert_alike(whole, split, atol=2e-5)


@pytest.mark.parametrize("network", [(), ROPE, UNET])
def test_recomputed_activations_are_the_same(network: tuple[str, ...]) -> None:
    kept, taken = after(*network)
    recomputed, also = after(*network, "train.activation_checkpointing=true")
    assert also.norm.value() == pytest.approx(taken.norm.value(), rel=1e-5)
    assert_alike(kept, recomputed, atol=1e-6)


def test_recomputing_keeps_fewer_activations() -> None:
    def kept(*changes: str) -> int:
        config = tiny_config("model.depth=8", *changes)
        state, batches = tiny_state(config), Batches(config, tiny_rows(), SPACE, rank=0, world=1)
        step, saved = OptimizerStep(config, state, CPU), 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal saved
            saved += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            step._losses(batches.at(0))
        return saved

    assert kept("train.activation_checkpointing=true") < 0.3 * kept()


def test_bfloat16_trains_near_float32_and_keeps_float32_weights(with_bfloat16_units: None) -> None:
    _, taken = after()
    half, also = after("train.precision=bfloat16")
    assert also.losses.denoising != taken.losses.denoising
    assert also.losses.denoising.item() == pytest.approx(taken.losses.denoising.item(), rel=0.01)
    assert also.norm.value() == pytest.approx(taken.norm.value(), rel=0.05)
    assert {weight.dtype for weight in half.model.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("network", [(), ROPE])
def test_compiled_blocks_answer_alike_for_captions_of_any_length(network: tuple[str, ...]) -> None:
    plain, taken = after("train.learning_rate=1e-4", *network, steps=4)
    compiled, also = after("train.learning_rate=1e-4", "train.compile=true", *network, steps=4)
    assert any(block._compiled_call_impl is not None for block in compiled.model.in_blocks)
    assert also.norm.value() == pytest.approx(taken.norm.value(), rel=1e-3)
    assert_alike(plain, compiled, atol=1e-4)
    assert plain.to_files(plain.snapshot()).keys() == compiled.to_files(compiled.snapshot()).keys()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (("train.gradient_accumulation_steps=9",), "a worker's share of a batch is 8 rows"),
        ((*UNET, "train.compile=true"), "only model.network=uvit is compiled, not unet"),
    ],
)
def test_what_a_step_cannot_do_is_refused(said: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        tiny_config(*said)
