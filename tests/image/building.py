"""The image of cluster/Dockerfile.cpu, built by buildah without a daemon, and commands in it on a read-only root."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT

NEEDED_GB = 45
"""Layers of vfs are whole copies, and torch of PyPI brings CUDA's libraries."""
BASE_PACKAGES = "ca-certificates,python3,python3-venv"
WRITABLE = ("tmp", "home/ray", "data", "dev/shm")
ID = "1000"


def why_not() -> str:
    """Why no image can be built here; empty if one can."""
    missing = [name for name in ("buildah", "mmdebstrap", "unshare", "chroot") if not shutil.which(name)]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: apt-get install buildah mmdebstrap)"
    if os.geteuid() != 0:
        return "needs root, for mounts and chroot"
    free = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
    return "" if free > NEEDED_GB else f"needs {NEEDED_GB} GB below {tempfile.gettempdir()}, {free:.0f} GB are free"


@contextmanager
def built_image() -> Iterator[Path]:
    """Build on a base of Debian packages, with torch of PyPI; gives the image's root filesystem."""
    with tempfile.TemporaryDirectory(prefix="vapray-image-") as name:
        folder = Path(name)
        storage = ["--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]

        def buildah(command: str, *words: str) -> str:
            done = subprocess.run(["buildah", *storage, command, *words], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, f"buildah {command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
            return done.stdout.strip()

        print(f"building below {folder}: {NEEDED_GB} GB of disk, {shutil.disk_usage(folder).free / 1e9:.0f} GB free")
        archive = folder / "base.tar"
        debian = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={BASE_PACKAGES}", _suite(), str(archive)]
        subprocess.run(debian, check=True)
        base = buildah("from", "scratch")
        buildah("add", base, str(archive), "/")
        buildah("commit", "--rm", base, "base")
        archive.unlink()
        settings = ["--build-arg", "BASE=localhost/base", "--build-arg", "UV_TORCH_BACKEND=", *_index_settings(folder)]
        how = ["--isolation", "chroot", "--layers=false", "--file", "cluster/Dockerfile.cpu", "--tag", "vapray"]
        buildah("build", *how, *settings, ".")
        print(buildah("images", "--format", "{{.Name}} {{.Size}}"))
        container = buildah("from", "vapray")
        yield Path(buildah("mount", container))
        buildah("rm", container)


@contextmanager
def read_only(root: Path) -> Iterator[list[str]]:
    """Words that run a command in the image as its user; only WRITABLE folders, kept between commands, take files."""
    with tempfile.TemporaryDirectory(prefix="vapray-volumes-") as name:
        script = [f"mount --bind '{root}' '{root}'", f"mount -o remount,bind,ro '{root}'"]
        script += [f"mount -t proc proc '{root}/proc'", f"mount --rbind /sys '{root}/sys'"]
        script += [f"mount --bind /dev '{root}/dev'"]
        for place in WRITABLE:
            volume = Path(name) / place.replace("/", "_")
            volume.mkdir()
            os.chown(volume, int(ID), int(ID))
            if not place.startswith("dev"):
                (root / place).mkdir(parents=True, exist_ok=True)
            script.append(f"mount --bind '{volume}' '{root}/{place}'")
        entry = (
            f"chroot --userspec={ID}:{ID} '{root}' env -i {' '.join(_environment())} sh -c 'cd /app && exec \"$@\"' sh"
        )
        script.append(f'exec {entry} "$@"')
        yield ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", "\n".join(script), "sh"]


def _environment() -> list[str]:
    """ENV of the Dockerfile."""
    text = (ROOT / "cluster/Dockerfile.cpu").read_text().replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if line.startswith("ENV PATH=")]
    return line.removeprefix("ENV ").replace("$PATH", "/usr/local/bin:/usr/bin:/bin").split()


def _suite() -> str:
    found = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return found["VERSION_CODENAME"]


def _index_settings(folder: Path) -> list[str]:
    """This machine's certificates and settings of pip, for the time of the build only."""
    uv = folder / "uv"
    uv.mkdir()
    (uv / "uv.toml").write_text("system-certs = true\n")
    volumes = [f"{uv}:/etc/uv:ro", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    volumes += [f"{file}:{file}:ro" for file in ("/etc/pip.conf",) if Path(file).exists()]
    return [word for volume in volumes for word in ("--volume", volume)]
