"""The moving average of weights over ranks: every rank keeps the same one, and it is that of a single process."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.ranks import run_ranks
from tests.training.tiny import run, tiny_config, tiny_state

SETTINGS = ("train.batch_size=8", "train.steps=5", "train.lr_schedule=constant", "train.checkpoint_every=5")
SHARDINGS = ("ddp", "fsdp")


def _rank(rank: int, world: int, folder: str) -> None:
    for sharding in SHARDINGS:
        config = tiny_config(*SETTINGS, f"train.sharding={sharding}")
        state = run(config, tiny_state(config), rank=rank, world=world)
        for kind, network in (("averaged", state.ema), ("raw", state.model)):
            weights = {
                name: getattr(weight, "full_tensor", lambda w=weight: w)().contiguous()
                for name, weight in network.state_dict().items()
            }
            save_file(weights, Path(folder, f"{sharding}-{kind}-{rank}"))


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_agree_on_the_average_that_one_process_has(world, tmp_path):
    """Three ranks hold 3, 3 and 2 of eight rows, as an elastic run may: the mean over the batch is still the same."""
    run_ranks(world, _rank, world, str(tmp_path))
    config = tiny_config(*SETTINGS)
    single = run(config, tiny_state(config))
    begin = tiny_state(config).ema.state_dict()
    for sharding in SHARDINGS:
        for kind, network in (("averaged", single.ema), ("raw", single.model)):
            mine, *others = (load_file(tmp_path / f"{sharding}-{kind}-{rank}") for rank in range(world))
            for name, weight in network.state_dict().items():
                assert all(torch.equal(mine[name], other[name]) for other in others), name
                # A mean of means rounds differently, and Adam amplifies that.
                torch.testing.assert_close(mine[name], weight, atol=2e-4, rtol=1e-2)
        averaged, raw = (load_file(tmp_path / f"{sharding}-{kind}-0") for kind in ("averaged", "raw"))
        assert not torch.equal(averaged["position"], raw["position"])
        assert not torch.equal(averaged["position"], begin["position"])
