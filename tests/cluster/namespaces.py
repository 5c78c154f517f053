"""Linux namespaces: whether they can be made here, their network, the processes inside."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import psutil

__all__ = ["family_of", "ip", "title_of", "why_not"]


def why_not() -> str | None:
    """Why machines cannot be made here; None where they can."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    if missing := [tool for tool in ("ip", "unshare", "mount", "setsid") if not shutil.which(tool)]:
        return f"{', '.join(missing)} not found; on Debian: apt-get install iproute2 util-linux"
    probe = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "this container may not make namespaces (CAP_SYS_ADMIN)"
    return None


def ip(*words: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def family_of(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def title_of(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
    return " ".join([Path(words[0]).name, *words[1:]]) if words and not words[0].startswith("ray::") else "".join(words)
