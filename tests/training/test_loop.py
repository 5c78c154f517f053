"""Laws of the training loop, on one process and on two."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_safetensors

from tests.training.ranks import run_ranks
from tests.training.tiny import SPACE, run, tiny_config, tiny_rows, tiny_state
from vapray.errors import CheckpointError
from vapray.training.batches import Batches
from vapray.training.optimizer import ema_decay, only_present_rows, schedule_factor
from vapray.training.state import load_weights, save_weights

pytestmark = pytest.mark.usefixtures("one_thread")


def test_resumed_equals_uninterrupted():
    config = tiny_config()
    whole = run(config, tiny_state(config)).to_files()
    saved = {}
    run(config, tiny_state(config), save=lambda step, files: saved.setdefault(step, files))
    resumed = tiny_state(config)
    resumed.restore(saved[4])
    assert resumed.step == 4
    files = run(config, resumed).to_files()
    assert files["raw.safetensors"] == whole["raw.safetensors"]
    assert files["ema.safetensors"] == whole["ema.safetensors"]


def test_the_same_seed_gives_the_same_weights_and_another_others():
    weights = [
        run(config, tiny_state(config)).to_files()["raw.safetensors"]
        for config in (tiny_config(), tiny_config(), tiny_config("run.seed=1"))
    ]
    assert weights[0] == weights[1] != weights[2]


def test_training_lowers_the_loss_and_moves_the_average():
    config = tiny_config("train.steps=200", "train.learning_rate=1e-2")
    curve = []
    state = run(config, tiny_state(config), report=lambda step, point: curve.append(point["loss"]))
    assert np.mean(curve[-20:]) < 0.9 * np.mean(curve[:20])
    untrained = tiny_state(config).ema
    assert not torch.equal(state.ema.position, untrained.position)
    assert not torch.equal(state.ema.position, state.model.position)


BASELINES = {
    "class-only U-ViT": ("model.condition=class",),
    "DiT": ("model.condition=class", "model.prototypes.enabled=false", "model.network=dit"),
    "U-Net": ("model.condition=class", "model.prototypes.enabled=false", "model.network=unet"),
    "class-balancing loss": ("model.condition=class", "train.cbdm_weight=0.001"),
}


@pytest.mark.parametrize("baseline", BASELINES)
def test_baselines_learn_in_the_same_loop_and_resume_bit_for_bit(baseline):
    config = tiny_config("train.steps=24", "train.learning_rate=3e-3", *BASELINES[baseline])
    curve, saved = [], {}
    whole = run(
        config,
        tiny_state(config),
        report=lambda step, point: curve.append(point),
        save=lambda step, files: saved.setdefault(step, files),
    )
    assert np.mean([point["loss"] for point in curve[-6:]]) < np.mean([point["loss"] for point in curve[:6]])
    assert ("class_balancing" in curve[0]) == (baseline == "class-balancing loss")
    resumed = tiny_state(config)
    resumed.restore(saved[min(saved)])
    assert run(config, resumed).to_files()["raw.safetensors"] == whole.to_files()["raw.safetensors"]


def test_ranks_share_a_global_batch_without_overlap():
    config = tiny_config()
    whole = Batches(config, tiny_rows(), SPACE, rank=0, world=1).at(3)
    for rank in (0, 1):
        part = Batches(config, tiny_rows(), SPACE, rank=rank, world=2).at(3)
        assert torch.equal(part.clean_BCHW, whole.clean_BCHW[rank::2])
        assert torch.equal(part.draws.noise, whole.draws.noise[rank::2])
        assert torch.equal(part.label_B, whole.label_B[rank::2])


def test_ranks_share_the_classes_that_are_drawn_for_balancing():
    config = tiny_config("train.cbdm_weight=0.001")
    whole, *parts = (Batches(config, tiny_rows(), SPACE, rank=r, world=w).at(3) for r, w in ((0, 1), (0, 2), (1, 2)))
    for rank, part in enumerate(parts):
        assert torch.equal(part.balancing.other_label_B, whole.balancing.other_label_B[rank::2])


def test_flips_choose_the_stored_mirror_image():
    config, rows = tiny_config(), tiny_rows()
    batch = Batches(config, rows, SPACE, rank=0, world=1).at(0)
    straight = Batches(tiny_config("train.flip=false"), rows, SPACE, rank=0, world=1).at(0)
    same = (batch.clean_BCHW == straight.clean_BCHW).flatten(1).all(dim=1)
    assert torch.equal(same, ~batch.draws.flip_B)
    assert bool(batch.draws.flip_B.any())
    assert not bool(batch.draws.flip_B.all())


def _rank_of_two(rank: int, folder: str, resume_from: int) -> None:
    config = tiny_config("train.workers=2")
    state = tiny_state(config)
    if resume_from:
        names = ("raw.safetensors", "ema.safetensors", "optimiser.pt", "state.json")
        state.restore({name: Path(folder, str(resume_from), name).read_bytes() for name in names})

    def save(step, files):
        Path(folder, str(step)).mkdir(exist_ok=True)
        for name, data in files.items():
            Path(folder, str(step), name).write_bytes(data)

    run(config, state, rank=rank, world=2, save=save)


def _run_two(folder: Path, resume_from: int = 0) -> dict[str, torch.Tensor]:
    run_ranks(2, _rank_of_two, str(folder), resume_from)
    return load_safetensors((folder / "6" / "raw.safetensors").read_bytes())


def test_two_ranks_train_what_one_trains_and_resume_bit_equal(tmp_path):
    whole = _run_two(tmp_path)
    files = {path.name: path.read_bytes() for path in (tmp_path / "4").iterdir()}
    (tmp_path / "6" / "raw.safetensors").unlink()
    resumed = _run_two(tmp_path, resume_from=4)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    config = tiny_config()
    single = run(config, tiny_state(config)).model.state_dict()
    handed_over = tiny_state(config)
    handed_over.restore(files)
    fewer = run(config, handed_over).model.state_dict()
    # One mean over eight rows or the mean of two means over four: equal up to rounding, which Adam amplifies.
    for name, weight in whole.items():
        torch.testing.assert_close(weight, single[name], atol=2e-4, rtol=1e-2)
        torch.testing.assert_close(weight, fewer[name], atol=2e-4, rtol=1e-2)


def test_only_prototypes_of_present_classes_move():
    config = tiny_config("train.condition_dropout=0")
    state = tiny_state(config)
    run(tiny_config("train.condition_dropout=0", "train.steps=3"), state)
    prototypes = state.model.prototypes.prototypes
    before = prototypes.detach().clone()
    prototypes.grad = torch.zeros_like(prototypes)
    prototypes.grad[1] = 1.0
    with only_present_rows(prototypes, state.optimizer), torch.no_grad():
        state.optimizer.step()
    moved = (prototypes != before).flatten(1).any(dim=1)
    assert moved.tolist() == [False, True, False, False]


def test_prototypes_wait_for_their_turn():
    config = tiny_config("model.prototypes.update_every=100", "train.steps=1")
    state = tiny_state(config)
    run(config, state)
    after_first = state.model.prototypes.prototypes.detach().clone()
    run(tiny_config("model.prototypes.update_every=100", "train.steps=5"), state)
    assert torch.equal(state.model.prototypes.prototypes, after_first)
    assert not torch.equal(after_first, tiny_state(config).model.prototypes.prototypes)


def test_the_learning_rate_warms_up_and_ends_at_zero():
    settings = tiny_config("train.steps=100", "train.warmup_steps=10", "train.learning_rate=1").train
    rates = [settings.learning_rate * schedule_factor(step, settings) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == 0


def test_a_young_average_forgets_fast():
    assert ema_decay(0, 0.9999) == 0.1
    assert ema_decay(10**6, 0.9999) == 0.9999


def test_weights_of_another_architecture_are_named():
    narrow, wide = tiny_state(tiny_config()).model, tiny_state(tiny_config("model.width=32")).model
    with pytest.raises(CheckpointError, match=r"expected \(32,"):
        load_weights(wide, save_weights(narrow))
    plain = tiny_state(tiny_config("model.prototypes.enabled=false")).model
    with pytest.raises(CheckpointError, match=r"prototypes\.injection\.cross_attention\S+ is not known"):
        load_weights(plain, save_weights(narrow))


def test_the_optimizer_state_is_never_unpickled_blindly():
    config = tiny_config()
    files = run(config, tiny_state(config)).to_files()
    evil = io.BytesIO()
    torch.save({"state": os.system}, evil)
    with pytest.raises(CheckpointError):
        tiny_state(config).restore(files | {"optimiser.pt": evil.getvalue()})


def test_a_checkpoint_can_be_asked_for_out_of_turn():
    config = tiny_config("train.checkpoint_every=100")
    asked, saved = iter([False, False, True]), []
    run(
        config,
        tiny_state(config),
        save=lambda step, files: saved.append(step),
        checkpoint_requested=lambda: next(asked, False),
    )
    assert saved == [3, 6]
