"""Checks of the run root: rights and space, other writers, leftovers; nothing in it is changed."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.conftest import found
from vapray.config.loader import load_config
from vapray.doctor import run_root
from vapray.errors import ConfigError, DataError
from vapray.store.files import FileStore
from vapray.store.lease import Lease


def test_a_folder_that_cannot_be_written_ends_with_code_3(tmp_path, monkeypatch):
    """A file where a folder is needed stands for a full or read-only disk: root may write everywhere."""
    files = FileStore(str(tmp_path / ("x" * 200) / ("y" * 200)))
    (tmp_path / ("x" * 200)).write_text("a file where a folder is needed")
    with pytest.raises(DataError):
        files.create_exclusive("probe", b"")
    finding = run_root._writable(files)
    assert (finding.state, finding.exit_code) == ("failed", 3)


@pytest.fixture
def closed(tmp_path) -> Iterator[Path]:
    """A folder that this process may not read."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    load_config(None)  # late imports must run as the original user
    me = os.geteuid()
    if me == 0:  # file modes do not restrict root
        os.seteuid(65534)
    yield folder
    os.seteuid(me)


def test_a_folder_without_permission_is_a_failed_finding(closed):
    with pytest.raises(PermissionError):
        os.stat(closed / "run")
    with pytest.raises(ConfigError, match="cannot be written to"):
        load_config(None, [f"run.root={closed / 'run'}"])
    finding = run_root._writable(FileStore(str(closed / "run")))
    assert (finding.state, finding.exit_code) == ("failed", 3)
    assert run_root._free_space(closed / "run").check == "disk"


def test_the_folder_is_left_as_it_was(tmp_path):
    findings = found(run_root, f"run.root={tmp_path / 'new' / 'run'}")
    assert {finding.state for finding in findings.values()} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_an_active_writer_is_named(tmp_path):
    files = FileStore(str(tmp_path))
    with Lease(files, "captions/0123456789ab"):
        writers = found(run_root, f"run.root={tmp_path}")["writers"]
    assert writers.state == "warning"
    assert f"process {os.getpid()}" in writers.found
    assert "captions/0123456789ab" in writers.found
    assert found(run_root, f"run.root={tmp_path}")["writers"].state == "ok"


def test_writers_follow_the_rules_of_the_lease(tmp_path):
    """A damaged lease counts for its lifetime; the lease of a dead process does not count."""
    files = FileStore(str(tmp_path))
    with Lease(files, "captions/0123456789ab"):
        card = json.loads(files.read("captions/0123456789ab/lease-000001.json") or b"")
    dead = card | {"pid": 2**22 + 1, "expires": time.time() + 30}
    files.write("prompt_bank/0123456789ab/lease-000001.json", json.dumps(dead).encode())
    assert found(run_root, f"run.root={tmp_path}")["writers"].state == "ok"
    files.write("prompt_bank/0123456789ab/lease-000001.json", b"[]")
    expected = "a run whose lease file is damaged writes prompt_bank/0123456789ab"
    assert found(run_root, f"run.root={tmp_path}")["writers"].found == expected


def test_a_temporary_file_that_is_renamed_meanwhile_is_skipped(tmp_path, monkeypatch):
    (tmp_path / f".a.parquet.{'0' * 32}").write_bytes(b"half")
    real, renamed = os.path.getsize, []

    def rename_first(path: str) -> int:
        os.replace(path, tmp_path / "a.parquet")
        renamed.append(path)
        return real(path)

    monkeypatch.setattr(os.path, "getsize", rename_first)
    assert "leftovers" not in found(run_root, f"run.root={tmp_path}")
    assert len(renamed) == 1


def test_temporary_files_of_killed_writers_are_counted(tmp_path):
    folder = tmp_path / "images" / "parts"
    folder.mkdir(parents=True)
    (folder / f".a.parquet.{'0' * 32}").write_bytes(b"half")
    finding = found(run_root, f"run.root={tmp_path}")["leftovers"]
    assert finding.state == "warning"
    assert finding.found.startswith("1 temporary files, 4 bytes")
