"""Files of the teacher of representation alignment."""

import contextlib

from vapray.config import Config
from vapray.errors import VaprayError
from vapray.pretrained.model_files import read_json_object
from vapray.pretrained.vision_tower_files import VisionTowerFiles

__all__ = ["teacher_content_hash", "teacher_cost", "teacher_files"]

WIDTH_UNKNOWN, BLOCKS = 768, 12


def teacher_content_hash(config: Config) -> str:
    """Identify the teacher's features: its files, and the grid; empty without a teacher.

    Raises:
        ConfigError: the folder or files in it are missing.
    """
    if config.alignment.kind != "teacher":
        return ""
    return f"{teacher_files(config).content_hash()}, grid {config.patch_grid}"


def teacher_cost(config: Config) -> tuple[int, float]:
    """Estimate the bytes of an image's features and the floating-point operations for them; 0 without a teacher.

    The width is that of the model's config, 768 if it is not on this machine, with twelve blocks as in DINOv2-S and -B.
    """
    if config.alignment.kind != "teacher":
        return 0, 0.0
    width, patches = WIDTH_UNKNOWN, config.patch_grid**2
    with contextlib.suppress(VaprayError):
        card = read_json_object(teacher_files(config).paths(download=False)[0])
        width = int(card.get("num_features", WIDTH_UNKNOWN))
    return width * patches, BLOCKS * patches * (24 * width**2 + 4 * patches * width)


def teacher_files(config: Config) -> VisionTowerFiles:
    """Files of the teacher that the settings name."""
    settings = config.alignment
    return VisionTowerFiles(
        settings.teacher, settings.weights or "", settings.revision, "alignment.weights", "alignment.teacher"
    )
