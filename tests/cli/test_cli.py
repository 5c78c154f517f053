"""How a command ends: codes, messages, interrupts, closed streams."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT, SMALL
from vapray import __version__
from vapray.cli.app import app
from vapray.cli.cli_runtime import exit_on_error
from vapray.errors import CheckpointError

VAPRAY = [sys.executable, "-c", "from vapray.cli.app import main; main()"]


@pytest.fixture(autouse=True)
def _handlers():
    """A command takes the signals over; tests give them back."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def vapray(*arguments: str, shell: str = "") -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; ``shell`` is what follows it on the shell's line."""
    line = subprocess.list2cmdline([*VAPRAY, *arguments]) + f" {shell}"
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_version_is_said():
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"vapray {__version__}\n")


def test_help_imports_nothing_heavy():
    heavy = "('torch', 'ray', 'vapray.config', 'pyarrow', 'numpy')"
    code = (
        "import sys; from vapray.cli.app import main\n"
        "sys.argv = ['vapray', 'run', '--help']\n"
        "try: main()\n"
        f"finally: print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CheckpointError("final: damaged."), 4, "CheckpointError: final: damaged."),
        (KeyboardInterrupt(), 130, "the same command continues"),
        (KeyError("loss"), 1, "KeyError: 'loss'\nThis is a bug in vapray. Run again with --debug"),
    ],
)
def test_what_ends_a_command_is_one_message_and_a_code(error, code, said, capsys):
    with pytest.raises(SystemExit) as end, exit_on_error(debug=False):
        raise error
    assert end.value.code == code
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_debug_shows_the_traceback(capsys):
    with pytest.raises(SystemExit), exit_on_error(debug=True):
        raise KeyError("loss")
    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_stage_is_refused_with_the_known_ones():
    done = CliRunner().invoke(app, ["run", "trian", "--dry-run"])
    assert done.exit_code == 2
    assert "Accepted: pipeline, ingest, caption" in done.output


NOBODY_READS = "| (exec <&-; sleep 3)"


def test_a_pipe_that_closes_ends_the_command_quietly(tmp_path):
    done = vapray("demo", "--dry-run", f"run.root={tmp_path / 'run'}", shell=NOBODY_READS)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_pipe_that_closes_in_the_middle_ends_a_run_quietly():
    code = (
        "from vapray.cli.cli_runtime import exit_on_error\n"
        "with exit_on_error(False):\n  while True: print('a line', flush=True)"
    )
    line = subprocess.list2cmdline([sys.executable, "-c", code])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{line} {NOBODY_READS}"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("streams", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_trouble(streams, tmp_path):
    done = vapray("demo", "--dry-run", f"run.root={tmp_path / 'run'}", shell=streams)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_two_runs_that_are_not_there_cannot_be_compared(tmp_path):
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "one"), str(tmp_path / "two")])
    assert done.exit_code == 3
    assert "Traceback" not in done.output


def test_a_run_is_identical_with_itself(small_run, tmp_path):
    page = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["compare", str(small_run), str(small_run), "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "All settings agree" in done.stdout
    assert "<html" in page.read_text()


def start(root: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A run that draws phantoms with Ray up, and Ray's processes."""
    settings = [f"run.root={root}", *SMALL, f"data.root={root}/p", "data.phantom.n_images=90000"]
    command = [*VAPRAY, "run", "ingest", *settings]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(root.glob("p/.*")) and not list(root.glob("p/*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("raylet" in child.name() for child in children)
    return process, children


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=30)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


DEAF_ONCE = """
import signal, sys, time
from vapray.cli.cli_runtime import exit_on_error
with exit_on_error(False):
    try:
        try:
            print("ready", flush=True)
            time.sleep(60)
        except BaseException:
            print("dropped", flush=True)  # as Python does with what is raised in a weakref's callback
        time.sleep(60)
    finally:
        time.sleep(5)
        print("cleaned up", flush=True)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_that_python_drops_is_heard_all_the_same(number, code):
    with subprocess.Popen([sys.executable, "-c", DEAF_ONCE], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "dropped\ncleaned up\n"
        assert process.wait(timeout=30) == code


def test_one_interrupt_ends_in_good_order(tmp_path):
    process, children = start(tmp_path / "run")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.split("\n")[1] == "Interrupted: shutting down. Ctrl-C again ends at once."
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    assert still_running(children) == []


def test_a_second_interrupt_ends_at_once_and_leaves_no_orphans(tmp_path):
    """Stopped before the first is over: the closing words of an orderly end are never said."""
    process, children = start(tmp_path / "run")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = process.stderr.readline() + process.stderr.readline()
    assert "shutting down" in said
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.strip() == ""
    assert still_running(children) == []


def test_an_option_and_its_old_name_together_are_refused():
    code = "from vapray.cli.app import main; main()"
    command = [sys.executable, "-c", code, "serve", "--api-keys", "a.yaml", "--keys", "b.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--api-keys and its old name --keys: got both" in done.stderr
