"""What a plan's machines cannot hold."""

from vapray.capacity.plan import Limits

__all__ = ["exceeded"]


def exceeded(limits: Limits, *, driver: float, node: float, disk: float) -> dict[str, str]:
    """Limits that are not kept, each with what it would take; bytes."""
    asked = {
        "driver memory": (driver, limits.driver_memory_gb),
        "node memory": (node, limits.node_memory_gb),
        "node disk": (disk, limits.node_disk_gb),
    }
    return {
        name: f"{wanted / 1e9:,.0f} GB wanted, {there:,.0f} GB there"
        for name, (wanted, there) in asked.items()
        if wanted > there * 1e9
    }
