"""Precision of matrix products by device."""

import pytest
import torch

from vapray.models import precision


@pytest.mark.parametrize(
    ("flags", "asked", "used"),
    [
        ({"avx2"}, "bfloat16", torch.float32),
        ({"avx2", "avx512f"}, "bfloat16", torch.float32),
        ({"avx2", "avx512_bf16"}, "bfloat16", torch.bfloat16),
        ({"amx_bf16"}, "bfloat16", torch.bfloat16),
        ({"amx_bf16"}, "float32", torch.float32),
    ],
)
def test_bfloat16_is_float32_on_cpus_without_units_for_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], asked: precision.Precision, used: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: frozenset(flags))
    with precision.matrix_products(asked, torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == used
