"""FSDP2 trains what DDP trains, leaves the same files, and holds a share of the state; two real ranks, started once."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as load_safetensors

from tests.training.ranks import run_ranks
from tests.training.tiny import SPACE, run, tiny_config, tiny_rows, tiny_state
from vapray.errors import TrainingDivergedError
from vapray.models import precision
from vapray.training.batches import Batches
from vapray.training.state import save_weights

# Means over two ranks are the same, and only the norm that clips adds up in another order. Measured: 1.2e-7.
TOLERANCE = {"atol": 3e-5, "rtol": 1e-3}
WITHOUT_GRADIENT = "attn1.to_k.bias"
"""Of DiT's keys: what it adds to all scores alike softmax takes away, and of the rounding Adam makes full steps."""
CLASS_ONLY = ("model.condition=class", "model.prototypes.enabled=false")
SETTINGS = {
    "plain": ("train.validate_every=2",),
    "strict": (
        "train.gradient_accumulation_steps=2",
        "train.activation_checkpointing=true",
        "train.max_grad_norm=0.05",
    ),
    "bfloat16": ("train.precision=bfloat16",),
    "dit": (*CLASS_ONLY, "model.network=dit"),
    "unet": (*CLASS_ONLY, "model.network=unet", "train.activation_checkpointing=true", "train.steps=2"),
}
PROTOTYPES = ("train.condition_dropout=0", "train.batch_size=2", "train.checkpoint_every=1", "train.steps=6")


class Rank:
    """Runs trainings on one of two ranks and writes down what came of them."""

    def __init__(self, rank: int, folder: str) -> None:
        precision.has_fast_bfloat16 = lambda device: True  # emulated where this machine has no units for it
        self.rank, self.folder, self.found = rank, Path(folder), {}

    def train(self, name, sharding, *overrides, resume="", change=lambda state: None, **callbacks):
        config = tiny_config("train.workers=2", f"train.sharding={sharding}", *overrides)
        state = tiny_state(config)
        if resume:
            state.restore({path.name: path.read_bytes() for path in (self.folder / resume).iterdir()})
        change(state)

        def save(step, files):
            (self.folder / f"{name}-{step}").mkdir()
            for file, data in files.items():
                (self.folder / f"{name}-{step}" / file).write_bytes(data)

        return run(config, state, rank=self.rank, world=2, save=save, **callbacks)

    def compare(self):
        for name, settings in SETTINGS.items():
            for sharding in ("ddp", "fsdp"):
                points, seen = [], []
                state = self.train(
                    f"{name}-{sharding}",
                    sharding,
                    *settings,
                    report=lambda step, point, points=points: points.append(point),
                    validate=lambda network, seen=seen: float(seen.append(save_weights(network)) or len(seen)),
                )
                self.found[f"{name}-{sharding}"] = points
                self.found[f"{name}-{sharding} bytes"] = bytes_of(state)
                if self.rank == 0:
                    (self.folder / f"{name}-{sharding}-validated").write_bytes(seen[0] if seen else b"")
        for before, after in (("fsdp", "fsdp"), ("fsdp", "ddp"), ("ddp", "fsdp")):
            self.train(f"plain-{before}-{after}", after, resume=f"plain-{before}-4")

    def look_at_prototypes(self):
        self.train("rows", "fsdp", *PROTOTYPES)
        self.train("turns", "fsdp", "model.prototypes.update_every=3", *PROTOTYPES)

    def ask(self):
        asked = iter([False, False, self.rank == 0])
        self.train("asked", "fsdp", "train.checkpoint_every=100", checkpoint_requested=lambda: next(asked, False))

    def break_things(self):
        original, met = Batches.at, []

        def at(batches, step):
            batch = original(batches, step)
            if step in (2, 3) and self.rank == 1:
                met.append(step)
                batch.clean_BCHW[0, 0, 0, 0] = float("inf")
            return batch

        Batches.at = at
        state = self.train("skipped", "fsdp")
        Batches.at = original
        self.found["skipped"] = [met, state.step, state.skipped, state.skipped_in_a_row]
        try:
            self.train("diverged", "fsdp", change=break_the_last_position)
        except TrainingDivergedError as error:
            self.found["diverged"] = str(error)


def bytes_of(state) -> int:
    """What a rank holds of weights, average and moments."""
    moments = [value[key] for value in state.optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    tensors = [*state.model.parameters(), *state.ema.parameters(), *moments]
    shares = [getattr(tensor, "_local_tensor", tensor) for tensor in tensors]
    return sum(share.numel() * share.element_size() for share in shares)


def break_the_last_position(state) -> None:
    """A row that lies on the second rank."""
    with torch.no_grad():
        state.ema.position[-1, 0] = float("inf")


def work(rank: int, folder: str) -> None:
    this = Rank(rank, folder)
    this.compare()
    this.look_at_prototypes()
    this.ask()
    this.break_things()
    Path(folder, f"found-{rank}").write_text(json.dumps(this.found))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("two_ranks")
    run_ranks(2, work, str(made))
    return made


def found(folder, rank=0):
    return json.loads((folder / f"found-{rank}").read_text())


def weights(folder, name, file="raw.safetensors"):
    return load_safetensors((folder / name / file).read_bytes())


def assert_close(folder, one, other):
    for file in ("raw.safetensors", "ema.safetensors"):
        first, second = weights(folder, one, file), weights(folder, other, file)
        assert first.keys() == second.keys()
        for name, weight in first.items():
            if name.endswith(WITHOUT_GRADIENT):
                continue
            torch.testing.assert_close(weight, second[name], **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", SETTINGS)
def test_shares_learn_what_copies_learn(folder, name):
    if name != "unet":  # whose biases before a norm have no gradient but rounding, which Adam makes full steps of
        assert_close(folder, f"{name}-ddp-6", f"{name}-fsdp-6")
    curves = (found(folder)[f"{name}-{sharding}"] for sharding in ("ddp", "fsdp"))
    for copied, shared in zip(*curves, strict=True):
        assert copied.keys() == shared.keys()
        for key in copied.keys() - {"images_per_second", "step_milliseconds", "data_wait_share", "device_wait_share"}:
            assert shared[key] == pytest.approx(copied[key], rel=1e-3, abs=1e-5), key


def test_the_norm_that_clips_is_that_of_all_shares(folder):
    assert all(point["gradient_norm"] > 0.05 for point in found(folder)["strict-fsdp"]), "nothing was clipped"


def test_both_leave_the_same_files(folder):
    copied, shared = (
        torch.load(folder / f"plain-{sharding}-4" / "optimiser.pt", weights_only=True) for sharding in ("ddp", "fsdp")
    )
    assert copied["param_groups"] == shared["param_groups"]
    assert copied["state"].keys() == shared["state"].keys()
    for index, state in copied["state"].items():
        for key, value in state.items():
            assert type(shared["state"][index][key]) is torch.Tensor
            torch.testing.assert_close(shared["state"][index][key], value, **TOLERANCE)


def test_each_rank_holds_its_share(folder):
    first, second = found(folder, 0), found(folder, 1)
    whole = first["plain-ddp bytes"]
    assert whole == second["plain-ddp bytes"] == first["plain-fsdp bytes"] + second["plain-fsdp bytes"]
    assert first["plain-fsdp bytes"] < 0.6 * whole


def test_resumed_shares_equal_uninterrupted_ones_bit_for_bit(folder):
    for file in ("raw.safetensors", "ema.safetensors"):
        assert (folder / "plain-fsdp-fsdp-6" / file).read_bytes() == (folder / "plain-fsdp-6" / file).read_bytes()


def test_a_run_goes_on_with_the_other_sharding_or_alone(folder):
    assert_close(folder, "plain-fsdp-ddp-6", "plain-ddp-6")
    assert_close(folder, "plain-ddp-fsdp-6", "plain-ddp-6")
    config = tiny_config("train.sharding=fsdp")
    alone = tiny_state(config)
    alone.restore({path.name: path.read_bytes() for path in (folder / "plain-fsdp-4").iterdir()})
    run(config, alone)
    for name, weight in weights(folder, "plain-ddp-6").items():
        torch.testing.assert_close(alone.model.state_dict()[name], weight, atol=2e-4, rtol=1e-2)


def test_whole_averaged_weights_are_validated(folder):
    validated = (folder / "plain-fsdp-validated").read_bytes()
    assert validated == (folder / "plain-fsdp-2" / "ema.safetensors").read_bytes()
    card = json.loads((folder / "plain-fsdp-6" / "state.json").read_text())
    assert card["validations"] == [[2, 1.0], [4, 2.0], [6, 3.0]]


def moved(folder, name, step):
    before, after = (weights(folder, f"{name}-{at}")["prototypes.prototypes"].flatten(1) for at in (step, step + 1))
    return set((before != after).any(dim=1).nonzero().flatten().tolist())


def test_only_prototypes_of_present_classes_move(folder):
    batches = Batches(tiny_config(*PROTOTYPES), tiny_rows(), SPACE, rank=0, world=1)
    present = {step: set(batches.at(step).label_B.tolist()) for step in range(1, 6)}
    assert len(set.union(*present.values())) > min(map(len, present.values())), "no class was ever absent"
    assert {step: moved(folder, "rows", step) for step in present} == present


def test_prototypes_wait_for_their_turn(folder):
    assert [bool(moved(folder, "turns", step)) for step in range(1, 6)] == [step % 3 == 0 for step in range(1, 6)]


def test_a_checkpoint_that_only_one_rank_is_asked_for_is_written(folder):
    """Once, a step after it is asked for, because no rank waits for the others' answer."""
    assert sorted(path.name for path in folder.glob("asked-*")) == ["asked-4", "asked-6"]


def test_all_ranks_skip_a_step_that_is_broken_on_one(folder):
    assert found(folder, 0)["skipped"] == [[], 6, 2, 0]
    assert found(folder, 1)["skipped"] == [[2, 3], 6, 2, 0]


def test_all_ranks_stop_at_a_share_that_is_not_finite(folder):
    for rank in (0, 1):
        assert "position is not finite after step 2; nothing was saved" in found(folder, rank)["diverged"]
    assert not list(folder.glob("diverged-*"))
