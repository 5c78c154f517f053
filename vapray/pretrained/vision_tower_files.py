"""Files of DINOv2 and of open_clip's image towers, and the package that each needs."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vapray.errors import BackendError
from vapray.pretrained.model_files import ModelFileSpec, is_directory, resolve_commit, resolve_model_folder, sha256_of

__all__ = ["OPEN_CLIP_CONFIG", "OPEN_CLIP_WEIGHTS", "VISION_PACKAGES", "VisionTowerFiles", "require_package"]

VISION_PACKAGES = {"dinov2": "timm", "biomedclip": "open_clip"}
"""Package that builds each kind of vision tower."""
OPEN_CLIP_CONFIG = "open_clip_config.json"
# In the library's order of preference: the first existing file is loaded.
OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
CONFIGS = {"dinov2": "config.json", "biomedclip": OPEN_CLIP_CONFIG}
WEIGHTS = {"dinov2": ("model.safetensors",), "biomedclip": OPEN_CLIP_WEIGHTS}


@dataclass(frozen=True)
class VisionTowerFiles:
    """Files that settings name.

    Attributes:
        kind: ``dinov2`` or ``biomedclip``.
        model: Directory, or hf-hub:OWNER/NAME.
        revision: Commit, tag or branch of a hub model.
        setting: Config key of ``model``, for errors.
        kind_setting: Config key of ``kind``, for errors.
    """

    kind: str
    model: str
    revision: str | None
    setting: str
    kind_setting: str

    def folder(self, *, download: bool = True) -> Path:
        """Folder with all files.

        Raises:
            ConfigError: the directory or files in it are missing.
            BackendError: the model is not in a cache of this machine and cannot be downloaded.
        """
        choices = [[CONFIGS[self.kind], name] for name in WEIGHTS[self.kind]]
        wanted = ModelFileSpec(self.setting, choices, self._missing)
        return resolve_model_folder(self.model, self.revision, wanted, download=download)

    def paths(self, *, download: bool = True) -> list[Path]:
        """Config file and weights file; raises the errors of :meth:`folder`."""
        folder = self.folder(download=download)
        return [folder / CONFIGS[self.kind], self._weights(folder)[0]]

    def content_hash(self) -> str:
        """sha256 of a directory's files, or the commit of a hub model."""
        if not is_directory(self.model):
            return resolve_commit(self.model, self.revision, self.setting)
        return sha256_of(self.paths())

    def _missing(self, folder: Path) -> list[str]:
        config = CONFIGS[self.kind]
        missing = [] if (folder / config).is_file() else [config]
        return missing if self._weights(folder) else [*missing, f"weights ({', '.join(WEIGHTS[self.kind])})"]

    def _weights(self, folder: Path) -> list[Path]:
        return [folder / name for name in WEIGHTS[self.kind] if (folder / name).is_file()]


def require_package(setting: str, value: str, package: str) -> None:
    """Check that the package of a pretrained network is installed.

    Raises:
        BackendError: the package is missing; names the extra to install.
    """
    if find_spec(package) is None:
        raise BackendError(
            f"{setting} = {value}: {package} is not installed. Fix: install the extra with "
            "pip install --constraint constraints.txt '.[features]'"
        )
