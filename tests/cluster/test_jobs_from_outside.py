"""Jobs sent with ``ray job submit`` to a cluster of several machines: who may, what travels, what comes of it."""

import shutil

import pandas
import pytest
from s3fs import S3FileSystem

from tests.cluster.job import until
from tests.conftest import ROOT
from tests.finished_run import TABLES, digests_of_the_weights, frame, metrics
from tests.object_storage.conftest import BUCKET, CREDENTIALS
from vapray.store.files import FileStore

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RUN = f"{BUCKET}/pipeline"


def test_without_the_token_nobody_gets_in(rig):
    before = rig.ask("/api/jobs/").json()
    for path in ("/api/jobs/", "/api/version", "/nodes?view=summary"):
        assert rig.ask(path).status_code == 200
        assert rig.ask(path, token=None).status_code == 401
        assert rig.ask(path, token="f" * 64).status_code == 403
    for token in (None, "f" * 64):
        job = rig.submit("true", token=token)
        assert job.wait() != 0
        assert "token" in job.said()
    assert rig.ask("/api/jobs/").json() == before


def test_what_travels_is_the_code_and_not_the_environment_or_the_runs(rig, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "runs"))
    shutil.copy(ROOT / ".gitignore", project)
    for heavy in (".venv", "runs"):
        (project / heavy).mkdir()
        (project / heavy / "large").write_bytes(b"0" * 1000)
    code = "import os, vapray; print('at', os.getcwd(), 'of', sorted(os.listdir()), 'with', vapray.__file__)"
    job = rig.submit("python", "-c", code, folder=project)
    assert job.wait() == 0, job.said()
    at, of = job.said().rpartition("at ")[2].splitlines()[0].split(" of ")
    assert "'jobs'" in of and "'vapray'" in of
    assert "'.venv'" not in of and "'runs'" not in of
    assert of.endswith(f"with {at}/vapray/__init__.py"), "the code of the upload is not what runs"


def test_a_wrong_setting_is_told_as_on_the_command_line(rig):
    job = rig.submit("python", "-m", "jobs.train", "train.setps=3")
    assert job.wait() == 1  # Ray's own, whatever the command's is
    assert "unknown key train.setps. Did you mean steps?" in job.said()
    assert "exit code 2" in job.said()
    assert "Traceback" not in job.said()


def test_a_local_folder_is_refused_unless_all_machines_see_it(rig, settings, tmp_path):
    job = rig.submit("python", "-m", "jobs.ingest", f"run.root={tmp_path / 'here'}", *settings)
    assert job.wait() == 1
    assert "exit code 2" in job.said()
    assert "the cluster has 4 nodes" in job.said() and "cluster.shared_filesystem=true" in job.said()
    assert not (tmp_path / "here").exists()


def test_a_killed_pipeline_sent_again_ends_with_the_tables_of_one_machine(rig, unbroken, settings, tmp_path):
    """On an object store; ranks of training on two machines."""
    store = S3FileSystem(
        key=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        secret=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=rig.settings["AWS_ENDPOINT_URL"],
        use_listings_cache=False,
    )
    command = ("python", "-m", "jobs.pipeline", f"run.root=s3://{RUN}", *settings)
    first = rig.submit(*command)
    until(lambda: store.glob(f"{RUN}/prompt_bank/*/parts/*") or not first.is_running(), "the stage bank has begun", 400)
    driver = rig.processes(0, "python -m jobs.pipeline")
    assert len(driver) == 1, first.said()
    driver[0].kill()
    assert first.wait() == 1
    assert not store.glob(f"{RUN}/samples/*/manifest.json"), "it was finished before the kill"

    again = rig.submit(*command)
    ranks = until(lambda: ranks_now(rig) if sum(ranks_now(rig)) == 2 else not again.is_running(), "two ranks", 400)
    assert again.wait() == 0, again.said()
    assert sorted(ranks) == [0, 1, 1]
    assert "caption" in again.said() and "Done in" in again.said()
    store.get(f"{RUN}/", str(tmp_path / "copy"), recursive=True)
    here, there = FileStore(str(tmp_path / "copy")), FileStore(str(unbroken.root))
    for table in TABLES:
        pandas.testing.assert_frame_equal(frame(here, table), frame(there, table), obj=table)
    assert digests_of_the_weights(here) == digests_of_the_weights(there)
    assert metrics(here) == metrics(there)


def ranks_now(rig) -> list[int]:
    """Of training, on each of the workers."""
    return [len(rig.processes(worker, "ray::RayTrainWorker")) for worker in (1, 2, 3)]
