"""The moving average of weights under DDP: every rank keeps the same one, and it is that of a single process."""

import multiprocessing
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.tiny import run, tiny_config, tiny_state

SETTINGS = ("train.batch_size=8", "train.steps=5", "train.decay=constant")


def _rank(rank: int, world: int, folder: str, port: int) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    config = tiny_config(*SETTINGS)
    state = run(config, tiny_state(config), rank=rank, world=world)
    save_file(state.averaged.state_dict(), Path(folder, f"averaged-{rank}"))
    save_file(state.model.state_dict(), Path(folder, f"raw-{rank}"))
    torch.distributed.destroy_process_group()


def _run_ranks(world: int, folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_rank, args=(rank, world, str(folder), port)) for rank in range(world)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0] * world


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_agree_on_the_average_that_one_process_has(world, tmp_path):
    """Three ranks hold 3, 3 and 2 of eight rows, as an elastic run may: the mean over the batch is still the same."""
    _run_ranks(world, tmp_path)
    config = tiny_config(*SETTINGS)
    single = run(config, tiny_state(config))
    begin = tiny_state(config).averaged.state_dict()
    for kind, network in (("averaged", single.averaged), ("raw", single.model)):
        mine, *others = (load_file(tmp_path / f"{kind}-{rank}") for rank in range(world))
        for name, weight in network.state_dict().items():
            assert all(torch.equal(mine[name], other[name]) for other in others), name
            # A mean of means rounds differently, and Adam amplifies that.
            torch.testing.assert_close(mine[name], weight, atol=2e-4, rtol=1e-2)
    averaged, raw = load_file(tmp_path / "averaged-0"), load_file(tmp_path / "raw-0")
    assert not torch.equal(averaged["position"], raw["position"])
    assert not torch.equal(averaged["position"], begin["position"])
