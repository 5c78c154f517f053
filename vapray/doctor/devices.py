"""torch, and the GPUs that a config asks for."""

from collections.abc import Iterator

from vapray.config import Config, Pools
from vapray.doctor.findings import Finding, failed, ok, warning

__all__ = ["examine"]


def examine(config: Config) -> Iterator[Finding]:
    """One operation of torch and one of torchvision, then GPUs."""
    try:
        import torch
        import torchvision

        boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.1]])
        kept = torchvision.ops.nms(boxes, torch.tensor([1.0, 0.5]), 0.5)  # compiled against one torch only
        assert len(kept) == 1
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        advice = "They do not fit together. Install both from one index: make clean demo."
        yield failed("torch", f"{type(error).__name__}: {str(error).splitlines()[0]}", advice, 5)
        return
    yield ok(
        "torch", f"{torch.__version__} with torchvision {torchvision.__version__}, {torch.get_num_threads()} threads"
    )
    yield _gpus(config, [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())])


def _gpus(config: Config, names: list[str]) -> Finding:
    asked = gpus_asked(config)
    found = f"{len(names)} ({', '.join(dict.fromkeys(names))})" if names else "none here"
    most = max(asked.values(), default=0)
    if most <= len(names):
        return ok("gpus", f"{found}, {f'at most {most:g} asked for' if most else 'none asked for'}")
    who = ", ".join(f"{key} {count:g}" for key, count in asked.items() if count > len(names))
    advice = "Ask for fewer, or join a cluster that has them."
    if config.cluster.address:
        return warning("gpus", f"{found}; asked for: {who}", "Fine if the cluster has them: see the check of it.")
    return failed("gpus", f"{found}; asked for: {who}", advice, 5)


def gpus_asked(config: Config) -> dict[str, float]:
    """GPUs that have to be there at once before each stage can start, by config key; stages follow one another."""
    pools = {name: getattr(config.pools, name) for name in Pools.model_fields}
    asked = {f"pools.{name}.num_gpus": pool.min_size * pool.num_gpus for name, pool in pools.items() if pool.num_gpus}
    return asked | ({"train.workers": config.train.workers} if config.train.use_gpu else {})
