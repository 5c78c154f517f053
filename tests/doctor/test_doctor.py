"""``vapray doctor``: a problem that would end a run is a failed finding with the exit code of that run and a fix."""

import dataclasses
import json
import os
import re
import shutil
import socket
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.data.layouts import write_colonoscopy
from tests.doctor.conftest import found
from vapray.cli.app import app
from vapray.config.loader import load_config
from vapray.doctor import cluster, dataset, devices, machine, packages
from vapray.doctor.findings import Finding, exit_code, print_findings, warning


def test_this_environment_passes_in_one_line_a_check(tmp_path):
    done = CliRunner().invoke(app, ["doctor", f"run.root={tmp_path / 'run'}", "cluster.object_store_mb=80", "--json"])
    cards = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0, [card for card in cards if card["state"] == "failed"]
    assert [card["check"] for card in cards][:3] == ["python", "packages", "config"]
    assert all(card.keys() == {field.name for field in dataclasses.fields(Finding)} for card in cards)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_config_ends_with_code_2(tmp_path):
    done = CliRunner().invoke(app, ["doctor", "sample.guidance_scle=2"])
    assert done.exit_code == 2
    assert "Did you mean guidance_scale?" in " ".join(done.output.split())
    assert max(map(len, done.output.splitlines())) <= 100


def test_a_missing_dataset_ends_with_code_3(tmp_path):
    (tmp_path / "photos").mkdir()
    photos = ["data.source=folder", f"data.root={tmp_path / 'photos'}", f"run.root={tmp_path / 'run'}"]
    done = CliRunner().invoke(app, ["doctor", *photos, "cluster.object_store_mb=80"])
    assert done.exit_code == 3, done.output
    assert "failed   dataset" in done.output


def test_images_that_do_not_decode_are_reported(tmp_path):
    folder = tmp_path / "photos" / "a"
    folder.mkdir(parents=True)
    for number in range(20):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(folder / f"{number:02}.png")
    settings = ("data.source=folder", f"data.root={tmp_path / 'photos'}")
    assert found(dataset, *settings)["dataset"].state == "ok"
    for image in folder.iterdir():
        image.write_bytes(b"<html>")
    finding = found(dataset, *settings)["dataset"]
    assert (finding.state, finding.exit_code) == ("failed", 3)
    assert "5 of the first 5" in finding.found


def test_the_inventory_names_the_files_that_are_left_out_and_the_groups_that_hold_everything(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(folder / f"{number}.png")
    (folder / "metadata.csv").write_text(
        "file_name,label,group\n" + "".join(f"{number}.png,{'ab'[number % 2]},X\n" for number in range(3))
    )
    findings = list(dataset.check(load_config(None, ["data.source=folder", f"data.root={folder}"])))
    inventory, warned = (next(one for one in findings if one.check == name) for name in ("inventory", "about the data"))
    assert "groups: 1; image files: 3, tables: 1, left out: 1" in inventory.found
    assert "left out, 1: image that no table names (3.png)" in inventory.found
    assert (warned.state, warned.found) == ("warning", "1 group (X) holds all 3 images: nothing can be held out.")


MODEL = ("caption.captioner=openai", "caption.model=any")


def test_parts_of_a_dataset_that_share_lesions_are_a_warning(tmp_path):
    root = write_colonoscopy(tmp_path / "colon")
    settings = ("data.source=colonoscopy", f"data.root={root}", "data.modality=colonoscopy", *MODEL)
    shared = "a lesion can be in training and in test"
    (finding,) = (one for one in dataset.check(load_config(None, settings)) if shared in one.found)
    assert (finding.state, finding.exit_code) == ("warning", 0)
    assert "Move Mesejo out" in finding.advice
    shutil.rmtree(root / "Mesejo")
    assert not any(shared in one.found for one in dataset.check(load_config(None, settings)))


def test_shared_memory_smaller_than_the_object_store_ends_with_code_5():
    megabytes = os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize // 2**20 + 1000
    finding = found(machine, f"cluster.object_store_mb={megabytes}")["shared memory"]
    assert (finding.state, finding.exit_code) == ("failed", 5)
    assert "Lower cluster.object_store_mb" in finding.advice


def test_an_address_where_nothing_listens_ends_with_code_5():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    finding = found(cluster, f"cluster.address={address}")["ray"]
    assert (finding.state, finding.exit_code) == ("failed", 5)
    assert address in finding.found
    assert "ray start --head" in finding.advice


def test_more_workers_than_the_embedded_ray_has_end_with_code_5():
    finding = found(cluster, "cluster.num_cpus=4", "train.workers=64")["ray"]
    assert (finding.state, finding.exit_code) == ("failed", 5)


def test_gpus_are_no_part_of_the_check_of_an_embedded_ray():
    settings = ("cluster.num_cpus=8", "train.use_gpu=true", "pools.sample.num_gpus=0.5")
    assert found(cluster, *settings)["ray"].state == "ok"


def test_gpus_that_are_not_here_end_with_code_5():
    finding = found(devices, "train.use_gpu=true", "train.workers=64")["gpus"]
    assert (finding.state, finding.exit_code) == ("failed", 5)
    assert "train.workers 64" in finding.found


class _Dashboard(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.parametrize(("status", "state"), [(200, "failed"), (401, "ok")])
def test_a_dashboard_that_answers_without_a_token_ends_with_code_5(status, state, monkeypatch):
    server = ThreadingHTTPServer(("0.0.0.0", 0), type("Dashboard", (_Dashboard,), {"status": status}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(cluster, "DASHBOARD_PORT", server.server_port)
    own = socket.gethostbyname(socket.gethostname())
    outside = own if not own.startswith("127.") else "localhost"
    try:
        finding = cluster._dashboard([outside])
    finally:
        server.shutdown()
    assert finding.state == state
    assert finding.exit_code == (5 if state == "failed" else 0)


def test_a_local_root_on_several_nodes_ends_with_code_2():
    finding = cluster._local_root("/runs/demo", 2)
    assert (finding.state, finding.exit_code) == ("failed", 2)
    assert "cluster.shared_filesystem=true" in finding.advice


def test_the_required_versions_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {}
    for line in project["dependencies"]:
        name, least = re.match(r"([\w-]+)(?:\[[\w,]+\])?(?:>=([\d.]+))?", line).groups()
        required[name] = least or "0"
    assert required.items() >= packages.MIN_VERSIONS.items()


def test_an_old_package_and_a_missing_one_are_named(monkeypatch):
    monkeypatch.setattr(packages, "MIN_VERSIONS", {"typer": "999", "no-such-package": "1", "rich": "1"})
    finding = list(packages.check())[1]
    assert (finding.state, finding.exit_code) == ("failed", 5)
    assert "typer" in finding.found
    assert "no-such-package missing" in finding.found
    assert "rich" not in finding.found


def test_without_package_metadata_versions_come_from_the_modules(monkeypatch):
    def nothing(name: str) -> str:
        raise packages.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.importlib.metadata, "version", nothing)
    import numpy

    assert packages._version("numpy") == numpy.__version__


def test_warnings_alone_end_with_code_0(capsys):
    findings = print_findings([warning("disk", "little", "Free [some] space.")], as_json=False)
    assert exit_code(findings) == 0
    assert "Free [some] space." in capsys.readouterr().out
