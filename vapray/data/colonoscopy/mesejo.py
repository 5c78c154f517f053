"""Gastrointestinal lesions in regular colonoscopy (Mesejo et al., IEEE TMI 35(9), 2016): 76 lesions, filmed twice.

    root/{adenoma,hyperplasic,serrated}/adenoma_01/{WL,NBI}/*.png    also adenoma_01/videos/WL/

It is distributed as videos, WL.mp4 in white light and NBI.mp4 in narrow band; extract the frames of each into a folder
of the video's name. Both videos of a lesion are one group. The diagnosis is in the lesion's folder name.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from vapray.data.colonoscopy.part import DatasetPart, Frame
from vapray.data.image_files import PHOTO_SUFFIXES, is_image_file
from vapray.data.label_tables import summarize_names

__all__ = ["Mesejo"]

LIGHTS = ("WL", "NBI")


class Mesejo(DatasetPart):
    """Part in ``root``."""

    name = "Mesejo"

    def frames(self) -> list[Frame]:
        """List the frames of both lights, with the name of their lesion without the number as diagnosis."""
        return [
            Frame(
                f"{self.name}/{lesion}/{folder.name}/{path.stem}",
                path,
                (lesion.rpartition("_")[0],),
                f"{self.name}/{lesion}",
            )
            for (lesion, folder), paths in self._videos.items()
            for path in paths
        ]

    def validate(self) -> Iterator[str]:
        """Report videos without extracted frames, and a part without frames."""
        videos = [
            path for path in self.root.rglob("*.mp4") if not self._videos.get((_lesion(path), path.with_suffix("")))
        ]
        if videos:
            shown = summarize_names(sorted(path.relative_to(self.root).as_posix() for path in videos), "video")
            yield f"{shown} without frames; write them as PNG into a folder of the video's name"
        elif not self.files():
            yield f"no frames; expected adenoma/adenoma_01/WL/*.png and so on in {self.root}"

    def files(self) -> list[Path]:
        """List the frames."""
        return [path for paths in self._videos.values() for path in paths]

    @cached_property
    def _videos(self) -> dict[tuple[str, Path], list[Path]]:
        """Frames by lesion and folder of the video."""
        folders = [path for path in sorted(self.root.rglob("*")) if path.is_dir() and path.name in LIGHTS]
        return {
            (_lesion(folder), folder): sorted(path for path in folder.iterdir() if is_image_file(path, PHOTO_SUFFIXES))
            for folder in folders
        }


def _lesion(video: Path) -> str:
    """Get ``adenoma_01`` from ``.../adenoma_01/WL`` or ``.../adenoma_01/videos/WL``."""
    return video.parent.parent.name if video.parent.name == "videos" else video.parent.name
