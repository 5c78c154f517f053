"""Muon is torch's, with equal shapes together; beside AdamW it resumes bit for bit."""

import pytest
import torch
from torch import nn

from tests.training.ranks import run_ranks
from tests.training.tiny import run, tiny_config, tiny_state
from vapray.config.loader import load_config
from vapray.errors import CheckpointError, ConfigError
from vapray.training import muon
from vapray.training.muon import Muon, MuonAdamW, orthogonalize
from vapray.training.optimizer import schedule_factor
from vapray.training.state import save_weights

MUON = ("train.optimizer=muon", "train.muon_learning_rate=0.05")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def write_share(rank: int, folder: str) -> None:
    """Orthogonalize three matrices on two ranks; write the result and the number of matrices that this rank took."""
    taken, alone = [], muon.orthogonalize
    muon.orthogonalize = lambda matrices: (taken.append(len(matrices)), alone(matrices))[1]
    torch.save((muon.orthogonalize_together(drawn(3, 48, 16)), taken), f"{folder}/{rank}.pt")


def test_ranks_share_the_matrices_and_get_the_same(tmp_path) -> None:
    run_ranks(2, write_share, str(tmp_path))
    (first, taken), (second, also_taken) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert taken == also_taken == [2]
    assert torch.equal(first, second)
    assert torch.allclose(first, orthogonalize(drawn(3, 48, 16)), atol=1e-5)


@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48)])
def test_a_step_is_that_of_torch(shape: tuple[int, int]) -> None:
    ours, theirs = (nn.Parameter(drawn(*shape)) for _ in range(2))
    optimizers = [
        Muon({"mlp.0.weight": ours}, lr=0.02, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="original"),
    ]
    for step in range(3):
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = drawn(*shape, seed=step + 1)
            optimizer.step()
    moved = (theirs - drawn(*shape)).abs().max()
    assert moved > 0.01
    assert (ours - theirs).abs().max() < 0.05 * moved  # torch's products are bfloat16 on every device


@pytest.mark.parametrize("shape", [(32, 32), (64, 16), (16, 64)])
def test_singular_values_come_near_one_and_a_stack_is_its_matrices(shape: tuple[int, int]) -> None:
    matrices = torch.stack([drawn(*shape, seed=seed) * 10.0**seed for seed in range(3)])
    found = orthogonalize(matrices)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3 and values.max() < 1.3
    for matrix, other in zip(matrices, found, strict=True):
        torch.testing.assert_close(orthogonalize(matrix[None])[0], other, rtol=0, atol=2e-2)
    assert orthogonalize(torch.zeros(1, *shape)).abs().max() == 0


def test_layers_of_several_matrices_are_taken_apart() -> None:
    fused = {"a.query_key_value.weight": nn.Parameter(drawn(24, 8)), "b.merge.weight": nn.Parameter(drawn(8, 16))}
    apart = [nn.Parameter(part.detach().clone()) for part in fused["a.query_key_value.weight"].chunk(3, 0)]
    apart += [nn.Parameter(part.detach().clone()) for part in fused["b.merge.weight"].chunk(2, 1)]
    gradients = [drawn(8, 8, seed=seed) * seed for seed in range(1, 6)]
    fused["a.query_key_value.weight"].grad = torch.cat(gradients[:3], 0)
    fused["b.merge.weight"].grad = torch.cat(gradients[3:], 1)
    for weight, gradient in zip(apart, gradients, strict=True):
        weight.grad = gradient
    Muon(fused, lr=0.1).step()
    Muon({f"{number}.out.weight": weight for number, weight in enumerate(apart)}, lr=0.1).step()
    whole = [*fused["a.query_key_value.weight"].chunk(3, 0), *fused["b.merge.weight"].chunk(2, 1)]
    for part, weight in zip(whole, apart, strict=True):
        torch.testing.assert_close(part, weight, rtol=0, atol=2e-3)


def test_a_convolution_is_a_matrix_of_its_output_channels() -> None:
    convolution, matrix = nn.Parameter(drawn(8, 36).view(8, 4, 3, 3).clone()), nn.Parameter(drawn(8, 36))
    convolution.grad, matrix.grad = drawn(8, 36, seed=1).view(8, 4, 3, 3), drawn(8, 36, seed=1)
    Muon({"a": convolution}, lr=0.1).step()
    Muon({"a": matrix}, lr=0.1).step()
    assert torch.equal(convolution.flatten(1), matrix)


def test_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected matrices, got norm\.weight"):
        Muon({"norm.weight": nn.Parameter(torch.ones(3))}, lr=0.1)


def test_it_takes_the_matrices_of_the_blocks_and_leaves_the_rest_to_adamw() -> None:
    state = tiny_state(tiny_config(*MUON))
    assert isinstance(state.optimizer, MuonAdamW)
    names = {weight: name for name, weight in state.model.named_parameters()}
    by_muon, by_adamw = (
        {names[weight] for group in one.param_groups for weight in group["params"]}
        for one in (state.optimizer.muon, state.optimizer.adamw)
    )
    assert by_muon | by_adamw == set(names.values()) and not by_muon & by_adamw
    assert {"in_blocks.0.attention.query_key_value.weight", "prototypes.injection.inject.weight"} <= by_muon
    assert {
        "patch_in.weight",
        "patch_out.weight",
        "position",
        "prototypes.prototypes",
        "text.project.weight",
    } <= by_adamw


def test_a_resumed_run_ends_with_the_bytes_of_an_unbroken_one() -> None:
    config = tiny_config(*MUON, "train.steps=6", "train.checkpoint_every=3")
    saved: dict[int, dict[str, bytes]] = {}
    whole = run(config, tiny_state(config), save=lambda step, files: saved.setdefault(step, dict(files)))
    resumed = tiny_state(config)
    resumed.restore(saved[3])
    run(config, resumed)
    assert save_weights(whole.model) == save_weights(resumed.model)
    assert save_weights(whole.ema) == save_weights(resumed.ema)
    assert save_weights(whole.model) != save_weights(tiny_state(config).model)


def test_the_state_of_another_optimizer_is_refused() -> None:
    files = tiny_state(tiny_config()).to_files()
    with pytest.raises(CheckpointError, match="cannot be restored"):
        tiny_state(tiny_config(*MUON)).restore(files)


@pytest.mark.parametrize("other", ["train.sharding=fsdp", "model.network=dit"])
def test_what_cannot_use_it_is_told(other: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.optimizer = muon"):
        load_config(None, [*MUON, other, "model.condition=class", "model.prototypes.enabled=false"])


def test_the_cooldown_falls_at_the_end_only() -> None:
    settings = tiny_config(
        "train.steps=100", "train.warmup_steps=10", "train.lr_schedule=cooldown", "train.cooldown_share=0.4"
    ).train
    factors = [schedule_factor(step, settings) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert factors[9:61] == [1.0] * 52
    assert factors[60:] == pytest.approx([1 - k / 40 for k in range(41)])
