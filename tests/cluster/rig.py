"""A Ray cluster of several machines on one: each has a network, mounts, processes and a name of its own.

        outside (this process, the object store)  10.77.N.254
            │
        ────┴──── bridge ────┬──────────────┬────
                             │              │
        machine 0: head, no CPUs     machines 1, 2, 3: workers, a CPU each

What separates them are Linux namespaces, as containers are separated; so a machine can lose its power (``kill``) or
its cable (``cut``). Ray asks for a token, and its processes have the environment that ``cluster/base`` gives pods.
"""

import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil
import yaml

from tests.cluster.job import SECONDS, Job, until
from tests.cluster.namespaces import family_of, ip, title_of
from tests.conftest import ROOT

__all__ = ["HEAD", "Rig"]

HEAD = 0
NAME = f"vr{os.getpid() % 100_000}"
SUBNET = f"10.77.{os.getpid() % 250}"
RAY_FOLDER = "/tmp/ray"
# A machine behind a cut cable is given up after 20 s instead of 65, a head that does not answer after 20 instead of 60.
QUICK_TO_NOTICE = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
}
STORE_BYTES, SHARED_MEMORY = 200_000_000, "1g"


class Rig:
    """The machines, for the time of a ``with`` block.

    Args:
        folder: gets the logs of Ray, a folder for each machine.
        workers: machines beside the head.

    Attributes:
        settings: further environment of every Ray process; of those that start from then on.
        token: without it Ray answers nobody.
        outside: address of this process on the bridge.
        dashboard: URL of the head's.
    """

    def __init__(self, folder: Path, workers: int = 3) -> None:
        self._folder, self._machines = folder, range(workers + 1)
        self._powered: dict[int, subprocess.Popen[bytes]] = {}
        self._clients: list[Job] = []
        self.settings: dict[str, str] = {}
        self.token = secrets.token_hex(32)
        self.outside, self.dashboard = f"{SUBNET}.254", f"http://{self.address(HEAD)}:8265"

    def __enter__(self) -> Self:
        try:
            self._lay_cables()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for job in self._clients:
            job.leave()
        for machine in list(self._powered):
            self.kill(machine)
        for machine in self._machines:
            ip("netns", "del", f"{NAME}n{machine}", check=False)
            shutil.rmtree(f"/etc/netns/{NAME}n{machine}", ignore_errors=True)
        ip("link", "del", f"{NAME}b", check=False)

    def address(self, machine: int) -> str:
        """On the bridge."""
        return f"{SUBNET}.{machine + 1}"

    def power_on(self) -> None:
        """Start Ray on all machines that are off, the head first; returns when all are part of the cluster."""
        if not self.is_on(HEAD):
            self.start(HEAD)
            until(self._answers, "the head's dashboard")
        until(self._are_all_there, "all machines in the cluster")

    def is_on(self, machine: int) -> bool:
        """Whether its Ray runs."""
        return machine in self._powered and self._powered[machine].poll() is None

    def start(self, machine: int) -> None:
        """Switch a machine on."""
        logs = self._folder / f"machine-{machine}"
        logs.mkdir(parents=True, exist_ok=True)
        role = (
            "--head --port=6379 --dashboard-host=0.0.0.0 --num-cpus=0"
            if machine == HEAD
            else f"--address={self.address(HEAD)}:6379 --num-cpus=1"
        )
        boot = (
            f"hostname {NAME}n{machine}; mkdir -p {RAY_FOLDER}; mount --bind {logs} {RAY_FOLDER}; "
            f"mount -t tmpfs -o size={SHARED_MEMORY} tmpfs /dev/shm; "
            f"exec {Path(sys.executable).parent}/ray start --block {role} --node-ip-address={self.address(machine)} "
            f"--object-store-memory={STORE_BYTES} --num-gpus=0 --disable-usage-stats"
        )
        own = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "--kill-child"]
        with (logs / "start.log").open("ab") as log:
            self._powered[machine] = subprocess.Popen(
                ["ip", "netns", "exec", f"{NAME}n{machine}", *own, "bash", "-c", boot],
                cwd="/", env=self.environment(), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self, machine: int) -> list[psutil.Process]:
        """Power loss: SIGKILL of the machine's first process, with which the kernel ends all others.

        Returns:
            The processes that were running, and are not any more.
        """
        boot = self._powered.pop(machine)
        lost = family_of(boot.pid)
        boot.kill()
        boot.wait()
        _, left = psutil.wait_procs(lost, timeout=30)
        assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
        return lost

    def cut(self, machine: int) -> None:
        """Pull the machine's cable."""
        ip("link", "set", f"{NAME}v{machine}", "down")

    def heal(self, machine: int) -> None:
        """Put it back."""
        ip("link", "set", f"{NAME}v{machine}", "up")

    def processes(self, machine: int, title: str) -> list[psutil.Process]:
        """Of a machine, whose title begins so: ``ray::MapWorker``, ``ray::RayTrainWorker``, ``python -m jobs``."""
        if not self.is_on(machine):
            return []
        return [process for process in family_of(self._powered[machine].pid) if title_of(process).startswith(title)]

    def counts(self, state: str) -> set[str]:
        """Addresses of the machines that Ray counts as ``ALIVE``, or as ``DEAD``; none while the head does not say."""
        answer = self.ask("/nodes?view=summary")
        if answer.status_code != 200:
            return set()
        nodes = answer.json()["data"]["summary"]
        return {node["ip"] for node in nodes if "ip" in node and node.get("raylet", {}).get("state") == state}

    def ask(self, path: str, token: str | None = "") -> httpx.Response:
        """GET from the dashboard; with the right token unless another is given, with none where it is None."""
        headers = {} if token is None else {"Authorization": f"Bearer {token or self.token}"}
        try:
            return httpx.get(self.dashboard + path, headers=headers, timeout=30)
        except httpx.TransportError:
            return httpx.Response(503)

    def submit(self, *command: str, token: str | None = "", folder: Path = ROOT) -> Job:
        """``ray job submit --working-dir FOLDER -- COMMAND`` from outside."""
        name = f"job-{len(self._clients)}-{secrets.token_hex(4)}"
        log = self._folder / f"{name}.log"
        words = [f"{Path(sys.executable).parent}/ray", "job", "submit", "--address", self.dashboard]
        words += ["--submission-id", name, "--working-dir", str(folder), "--", *command]
        environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token or self.token}
        if token is None:
            environment = {**environment, "RAY_AUTH_MODE": "disabled"}
        with log.open("wb") as output:
            process = subprocess.Popen(words, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        self._clients.append(Job(process, log, name))
        return self._clients[-1]

    def stop(self, job: Job) -> None:
        """``ray job stop``: SIGTERM, and SIGKILL after a while."""
        words = [f"{Path(sys.executable).parent}/ray", "job", "stop", "--address", self.dashboard, job.name]
        environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        subprocess.run(words, env=environment, check=True, capture_output=True, timeout=SECONDS)

    def environment(self) -> dict[str, str]:
        """Of Ray's processes: what pods get, a token, and nothing of this process's own Ray."""
        tests_own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return {
            **tests_own,
            **_environment_of_pods(),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_worker_niceness": "0",
            **QUICK_TO_NOTICE,
            **self.settings,
        }

    def _lay_cables(self) -> None:
        ip("link", "add", f"{NAME}b", "type", "bridge")
        ip("addr", "add", f"{self.outside}/24", "dev", f"{NAME}b")
        ip("link", "set", f"{NAME}b", "up")
        for machine in self._machines:
            space = f"{NAME}n{machine}"
            ip("netns", "add", space)
            ip("link", "add", f"{NAME}v{machine}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", f"{NAME}v{machine}", "master", f"{NAME}b", "up")
            ip("-n", space, "addr", "add", f"{self.address(machine)}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                ip("-n", space, "link", "set", device, "up")
            hosts = Path("/etc/netns") / space / "hosts"
            hosts.parent.mkdir(parents=True, exist_ok=True)
            hosts.write_text(f"127.0.0.1 localhost\n{self.address(machine)} {space}\n")

    def _are_all_there(self) -> bool:
        for machine in self._machines:
            if not self.is_on(machine):  # also one that gave up because this host was too busy, as a pod would
                self.start(machine)
        return len(self.counts("ALIVE")) == len(self._machines)

    def _answers(self) -> bool:
        return self.ask("/api/version").status_code == 200


def _environment_of_pods() -> dict[str, str]:
    kustomization = yaml.safe_load((ROOT / "cluster" / "base" / "kustomization.yaml").read_text())
    return dict(literal.split("=", 1) for literal in kustomization["configMapGenerator"][0]["literals"])
