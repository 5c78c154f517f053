"""Addresses of the cluster that a command joins."""

import pytest

from tests.bad_inputs.refusal import BACKEND, refused
from vapray.config import Cluster
from vapray.config.loader import load_config
from vapray.doctor import cluster as doctor
from vapray.runtime.cluster import ray_session
from vapray.runtime.cluster_address import joined_address

DASHBOARD = "http://127.0.0.1:8265"
UNSET = f"RAY_ADDRESS is a dashboard's address, {DASHBOARD}, which only `ray job submit` takes. Fix: unset it"

JOINED = {
    "embedded": (None, None, None),
    "empty": ("", "", None),
    "of the environment": (None, "10.0.0.1:6379", "10.0.0.1:6379"),
    "of the settings": ("10.0.0.2:6379", "10.0.0.1:6379", "10.0.0.2:6379"),
    "auto, of the environment": ("auto", "10.0.0.1:6379", "10.0.0.1:6379"),
    "auto": ("auto", None, "auto"),
    "of the settings, beside a dashboard": ("10.0.0.2:6379", DASHBOARD, "10.0.0.2:6379"),
    "Ray's client": (None, "ray://head:10001", "ray://head:10001"),
}


def inherit(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)


@pytest.mark.parametrize(("configured", "inherited", "joined"), JOINED.values(), ids=JOINED)
def test_the_address_of_the_settings_goes_first(
    configured: str | None, inherited: str | None, joined: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    inherit(monkeypatch, inherited)
    assert joined_address(Cluster(address=configured)) == joined


@pytest.mark.parametrize("configured", [None, "auto"])
def test_a_dashboard_in_the_environment_is_refused(configured: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    inherit(monkeypatch, DASHBOARD)
    refused(BACKEND, lambda: ray_session(Cluster(address=configured)).__enter__(), UNSET)
    finding = next(one for one in doctor.check(load_config(None, [])) if one.check == "ray")
    assert (finding.state, finding.exit_code) == ("failed", 5)
    assert finding.advice.startswith("unset it")


def test_a_dashboard_in_the_settings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    inherit(monkeypatch, None)
    refused(BACKEND, lambda: joined_address(Cluster(address=DASHBOARD)), "cluster.address is a dashboard's", "leave it")
