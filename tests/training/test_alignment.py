"""Laws of representation alignment: what it trains, when it ends, and that nothing of it stays."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_safetensors
from torch.nn import functional

from tests.training.ranks import run_ranks
from tests.training.tiny import SPACE, TEACHER, run, tiny_config, tiny_rows, tiny_state
from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.data.origins import OriginSummary
from vapray.errors import ConfigError
from vapray.models.alignment import AlignmentHead, AlignmentTarget, dispersive_loss
from vapray.training.alignment import alignment_weight
from vapray.training.batches import Batches, micro_batches
from vapray.training.final import final_checkpoint
from vapray.training.step import OptimizerStep

pytestmark = pytest.mark.usefixtures("one_thread")

TAUGHT = ("alignment.kind=teacher", "alignment.weights=somewhere")
DISPERSIVE = ("alignment.kind=dispersive",)


def test_the_weight_is_full_then_falls_to_zero() -> None:
    config = tiny_config(*TAUGHT, "train.steps=100", "alignment.weight=0.8")
    weights = [alignment_weight(step, config) for step in range(100)]
    assert weights[:41] == [0.8] * 41
    assert weights[45] == pytest.approx(0.4)
    assert np.all(np.diff(weights[40:51]) < 0)
    assert weights[50:] == [0.0] * 50
    assert alignment_weight(0, tiny_config()) == 0


def test_the_teacher_s_loss_is_one_minus_the_cosine_of_the_convolution_s_output() -> None:
    torch.manual_seed(0)
    head = AlignmentHead(8, 1, 5)
    patches, features = torch.randn(3, 6, 8), torch.randn(3, 5, 2, 3)
    assert head.projector is not None
    weight, bias = head.projector.weight, head.projector.bias
    assert bias is not None
    padded = functional.pad(patches.reshape(3, 2, 3, 8), (0, 0, 1, 1, 1, 1))
    cosines = []
    for row in range(2):
        for column in range(3):
            window = padded[:, row : row + 3, column : column + 3]
            predicted = torch.einsum("bxyd,fdxy->bf", window, weight) + bias
            wanted = features[:, :, row, column]
            cosines.append((predicted * wanted).sum(1) / (predicted.norm(dim=1) * wanted.norm(dim=1)))
    loss = head(patches, AlignmentTarget(0.5, features))
    torch.testing.assert_close(loss, 1 - torch.stack(cosines).mean())


def test_the_dispersive_loss_is_that_of_all_pairs_and_falls_with_distance() -> None:
    torch.manual_seed(0)
    patches = torch.randn(4, 3, 5)
    rows = patches.flatten(1)
    pairs = [torch.exp(-((one - other) ** 2).mean() / 0.5) for one in rows for other in rows]
    torch.testing.assert_close(dispersive_loss(patches), torch.stack(pairs).mean().log())
    assert dispersive_loss(2 * patches) < dispersive_loss(patches) < dispersive_loss(0 * patches)
    assert dispersive_loss(0 * patches) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", [TAUGHT, DISPERSIVE])
def test_the_other_weights_start_alike_and_the_blocks_up_to_its_own_move_by_it(kind: tuple[str, ...]) -> None:
    config = tiny_config(*kind, "model.depth=4", "alignment.block=1", "alignment.weight=1e4", "train.max_grad_norm=1e9")
    state, plain = tiny_state(config), tiny_state(tiny_config("model.depth=4", "train.max_grad_norm=1e9"))
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(state.model.state_dict()[name], weight, rtol=0, atol=0)
    OptimizerStep(config, state, torch.device("cpu"))._gradients(
        [Batches(config, tiny_rows(), SPACE, rank=0, world=1).at(0)], 1.0
    )
    first, second = (block.mlp[0].weight.grad.norm() for block in state.model.in_blocks)
    assert first > 100 * second


@pytest.mark.parametrize("kind", [TAUGHT, DISPERSIVE])
def test_its_loss_falls_while_it_counts_and_a_resumed_run_is_bit_equal(kind: tuple[str, ...]) -> None:
    config = tiny_config(
        *kind, "train.steps=60", "train.checkpoint_every=20", "train.learning_rate=3e-3", "alignment.share=0.6"
    )
    curve, saved = [], {}
    whole = run(
        config,
        tiny_state(config),
        report=lambda step, point: curve.append(point),
        save=lambda step, files: saved.setdefault(step, files),
    ).to_files()
    counted = [point["alignment"] for point in curve if "alignment" in point]
    assert len(counted) == 42
    assert np.mean(counted[-10:]) < np.mean(counted[:10]) - 0.02
    resumed = tiny_state(config)
    resumed.restore(saved[20])
    files = run(config, resumed).to_files()
    assert files["raw.safetensors"] == whole["raw.safetensors"]
    assert files["ema.safetensors"] == whole["ema.safetensors"]


def test_a_mirrored_row_gets_the_features_of_its_mirror_image() -> None:
    config, rows = tiny_config(*TAUGHT), tiny_rows()
    batches = Batches(config, rows, SPACE, rank=0, world=1)
    batch = batches.at(0)
    chosen = batches._order.rows(0)
    assert 0 < batch.draws.flip_B.sum() < 8
    assert rows.teacher is not None
    np.testing.assert_array_equal(batch.teacher_BFHW, rows.teacher[chosen, batch.draws.flip_B.long()])
    assert batches.at(5).teacher_BFHW is None


def test_micro_batches_and_precision_take_the_features_along() -> None:
    def norm(*changes: str) -> float:
        config = tiny_config(*TAUGHT, *changes)
        state = tiny_state(config)
        whole = Batches(config, tiny_rows(), SPACE, rank=0, world=1).at(0)
        parts = micro_batches(whole, config.train, config.text_encoder.max_tokens)
        taken = OptimizerStep(config, state, torch.device("cpu")).step(parts)
        assert taken.losses.alignment > 0
        return taken.norm.value()

    assert norm("train.gradient_accumulation_steps=3") == pytest.approx(norm(), rel=1e-4)
    assert norm("train.precision=bfloat16") == pytest.approx(norm(), rel=0.1)


def _rank_of_two(rank: int, folder: str, changes: list[str]) -> None:
    config = tiny_config(*changes, "train.workers=2")

    def save(step: int, files: Mapping[str, bytes]) -> None:
        (Path(folder) / str(step)).write_bytes(files["raw.safetensors"])

    run(config, tiny_state(config), rank=rank, world=2, save=save)


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_ranks_train_what_one_trains_also_after_the_alignment_ended(sharding: str, tmp_path: Path) -> None:
    changes = (*TAUGHT, "train.learning_rate=1e-4")
    config = tiny_config(*changes)
    alone = run(config, tiny_state(config)).to_files()
    run_ranks(2, _rank_of_two, str(tmp_path), [*changes, f"train.sharding={sharding}"])
    one, two = load_safetensors(alone["raw.safetensors"]), load_safetensors((tmp_path / "6").read_bytes())
    assert any(name.startswith("alignment.") for name in one)
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=2e-4, msg=name)


def test_the_final_checkpoint_holds_the_network_alone() -> None:
    config = tiny_config(*TAUGHT, "train.steps=2")
    files = run(config, tiny_state(config)).to_files()
    plain = tiny_config("train.steps=2")
    final = final_checkpoint(
        config, files, PromptBank([BankEntry("a", 0, "Round.")]), {}, SPACE, ["a", "b", "c"], OriginSummary(), {}
    )
    for name in ("raw.safetensors", "ema.safetensors"):
        assert load_safetensors(final[name]).keys() == tiny_state(plain).model.state_dict().keys()
    assert json.loads(final["checkpoint.json"])["config"]["alignment"]["kind"] == "teacher"
    assert load_safetensors(files["raw.safetensors"])["alignment.projector.weight"].shape[0] == TEACHER


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (("alignment.kind=teacher",), "needs alignment.weights"),
        (("alignment.weights=x",), "only alignment.kind=teacher reads it"),
        ((*DISPERSIVE, "alignment.revision=x"), "only alignment.kind=teacher reads it"),
        ((*TAUGHT, "train.cbdm_weight=0.001"), "predicts every image twice"),
        ((*TAUGHT, "alignment.block=2"), "model.depth 2 has 1 blocks before the middle"),
        ((*TAUGHT, "train.quarter_turns=true", "autoencoder.kind=pixels"), "mirror image only"),
        ((*DISPERSIVE, "model.network=dit"), "only model.network=uvit is aligned"),
    ],
)
def test_what_alignment_does_not_allow_is_refused(said: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        tiny_config(*said)
