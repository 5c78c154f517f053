"""What every benchmark prints: a table for people, and as its last line one JSON object for programs."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["report"]


def report(name: str, config: Mapping[str, Any], ratios: Mapping[str, float], values: Mapping[str, float]) -> None:
    """Print it.

    Args:
        name: of the benchmark.
        config: shapes, device, repetitions.
        ratios: measured inside this run; what machines have in common.
        values: of this machine.
    """
    print(f"\n{name}: {', '.join(f'{key} {value}' for key, value in config.items())}")
    width = max(map(len, [*ratios, *values]))
    for key, value in {**ratios, **values}.items():
        print(f"  {key:<{width}}  {value:,.4g}")
    print(json.dumps({"name": name, "config": dict(config), "ratios": dict(ratios), "values": dict(values)}))
