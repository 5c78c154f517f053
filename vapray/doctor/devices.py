"""Checks of torch and of the GPUs that a config requests."""

from collections.abc import Iterator

from vapray.config import Config, Pools
from vapray.doctor.findings import Finding, failed, ok, warning

__all__ = ["check"]


def check(config: Config) -> Iterator[Finding]:
    """Run one operation of torchvision on torch tensors, then count the GPUs."""
    try:
        import torch
        import torchvision

        boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.1]])
        kept = torchvision.ops.nms(boxes, torch.tensor([1.0, 0.5]), 0.5)  # compiled for one version of torch
        assert len(kept) == 1
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        advice = "Install torch and torchvision from one index: make clean demo."
        yield failed("torch", f"{type(error).__name__}: {str(error).splitlines()[0]}", advice, 5)
        return
    yield ok(
        "torch", f"{torch.__version__} with torchvision {torchvision.__version__}, {torch.get_num_threads()} threads"
    )
    yield _gpus(config, [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())])


def _gpus(config: Config, names: list[str]) -> Finding:
    requested = _requested_gpus(config)
    found = f"{len(names)} ({', '.join(dict.fromkeys(names))})" if names else "none on this machine"
    most = max(requested.values())
    if most <= len(names):
        return ok("gpus", f"{found}, at most {most:g} requested")
    missing = ", ".join(f"{key} {count:g}" for key, count in requested.items() if count > len(names))
    if config.cluster.address:
        return warning("gpus", f"{found}; requested: {missing}", "Check that the cluster has them: see places below.")
    return failed("gpus", f"{found}; requested: {missing}", "Request fewer, or join a cluster that has them.", 5)


def _requested_gpus(config: Config) -> dict[str, float]:
    """Return the GPUs that each stage needs to start, by config key; stages run one after another."""
    pools = {name: getattr(config.pools, name) for name in Pools.model_fields}
    requested = {f"pools.{name}.num_gpus": pool.min_size * pool.num_gpus for name, pool in pools.items()}
    requested["train.workers"] = config.train.workers if config.train.use_gpu else 0
    return requested
