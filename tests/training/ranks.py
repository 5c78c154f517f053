"""Processes that train together, by gloo."""

import socket
from collections.abc import Callable

import torch

from tests.faults.ray_processes import FORKS, start_fork_server


def run_ranks(world: int, work: Callable[..., None], *arguments: object) -> None:
    """Let each rank do ``work(rank, *arguments)``; all have to come through."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_fork_server()
    ranks = [FORKS.Process(target=_rank, args=(rank, world, port, work, arguments)) for rank in range(world)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0] * world


def _rank(rank: int, world: int, port: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    work(rank, *arguments)
    torch.distributed.destroy_process_group()
