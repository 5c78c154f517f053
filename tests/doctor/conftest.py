"""Findings of one group of checks, away from any cluster of this machine."""

import pytest

from vapray.config.loader import load_config
from vapray.doctor.findings import Finding


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def found(module, *overrides: str) -> dict[str, Finding]:
    return {finding.check: finding for finding in module.check(load_config(None, overrides))}
