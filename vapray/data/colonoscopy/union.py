"""Union of the parts that are in the folder, with common labels and one split.

root/PolypsSet, root/SUN, root/Mesejo, each optional. The paper's fourth, private part is not available.
The files do not state their licences: set ``data.licence``. The subject of a frame is its patient, lesion or sequence.
"""

from collections import Counter
from functools import cached_property, partial
from pathlib import Path

from vapray.data.colonoscopy.label_map import load_label_map
from vapray.data.colonoscopy.mesejo import Mesejo
from vapray.data.colonoscopy.part import DatasetPart, Frame
from vapray.data.colonoscopy.polypsset import PolypsSet
from vapray.data.colonoscopy.sun import Sun
from vapray.data.file_tree import FileTree
from vapray.data.label_tables import duplicates, raise_problems, summarize_names
from vapray.data.records import ImageRecord, ImageSource, dataset_folder, in_order, sign_files
from vapray.data.splits import split_by_group
from vapray.errors import DataError

__all__ = ["Colonoscopy"]

PARTS: tuple[type[DatasetPart], ...] = (PolypsSet, Sun, Mesejo)


class Colonoscopy(ImageSource):
    """ImageSource for the parts in one folder.

    Args:
        root: folder with one subfolder per part, of its name.
        labels: YAML file that maps the parts' diagnoses to common labels; None: the built-in mapping.
        validation_share: share of the frames for validation, in whole patients, lesions or sequences.
        test_share: share of the frames for testing, in whole patients, lesions or sequences.
        seed: seed of the split.

    Raises:
        DataError: no part exists, or one is invalid (here, or in ``records``).
        ConfigError: the label map is invalid.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        labels: str | None = None,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        """Find the parts."""
        self.root = dataset_folder(root, f"with {', '.join(part.name for part in PARTS)}")
        self.tree = FileTree(self.root)
        self._split = partial(split_by_group, validation_share=validation_share, test_share=test_share, seed=seed)
        self.label_map = load_label_map(labels)
        self.parts = [part(self.root / part.name) for part in PARTS if (self.root / part.name).is_dir()]
        if not self.parts:
            names = ", ".join(f"{part.name}/" for part in PARTS)
            raise DataError(f"{self.root}: none of {names} exists. Fix: set data.root to the folder of one or more.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Labels that occur, sorted."""
        return tuple(sorted({label for _, label in self._labelled}))

    def records(self) -> list[ImageRecord]:
        """List the frames with one label, sorted by split (train, validation, test) and id.

        Raises:
            DataError: files missing, or diagnoses not in the label map; one error lists all problems.
        """
        names = self.class_names
        records = [
            ImageRecord(
                frame.image_id,
                label,
                names.index(label),
                "train",
                frame.group,
                str(frame.path),
                source=frame.image_id.partition("/")[0],
                subject=frame.group,
            )
            for frame, label in self._labelled
        ]
        raise_problems(self.root, duplicates(record.image_id for record in records))
        return in_order(self._split(records))

    def signature(self) -> str:
        """Compute a signature of names, sizes and times of all files, the tables' bytes and the label map."""
        files = (path for part in self.parts for path in part.files())
        tables = (path for part in self.parts for path in part.tables())
        return f"{sign_files(self.root, files, tables)} {self.label_map.digest}"

    def tables(self) -> list[Path]:
        """List the tables and annotations of the parts."""
        frames = {frame.path for frame in self._frames}
        files = (path for part in self.parts for path in (*part.tables(), *part.files()))
        return [path for path in files if path not in frames]

    def left_out(self) -> dict[str, str]:
        """Map the frames without a label, or with several, to the reason."""
        labelled = {frame.path for frame, _ in self._labelled}
        return {
            frame.path.relative_to(self.root).as_posix(): f"frame without one label in {self.label_map.where}"
            for frame in self._frames
            if frame.path not in labelled
        }

    def notes(self) -> list[str]:
        """Count the frames of each part and those left out, and name the parts that overlap."""
        kept = Counter(frame.image_id.partition("/")[0] for frame, _ in self._labelled)
        groups = len({frame.group for frame, _ in self._labelled})
        brought = ", ".join(f"{kept[part.name]:,} from {part.name}" for part in self.parts)
        found = [f"Frames of {groups:,} sequences, lesions or patients: {brought}."]
        if left_out := len(self._frames) - len(self._labelled):
            found.append(f"{left_out:,} frames have no label in {self.label_map.where}, or several, and are left out.")
        return [*found, *(f"{leak} {advice}" for leak, advice in self.leaks().items())]

    def leaks(self) -> dict[str, str]:
        """Report lesions that two parts have in common."""
        if not {"PolypsSet", "Mesejo"} <= {frame.image_id.partition("/")[0] for frame, _ in self._labelled}:
            return {}
        leak = (
            "PolypsSet contains some of Mesejo's videos without naming them: a lesion can be in training and in test."
        )
        return {leak: "Move Mesejo out of the folder to exclude this."}

    @cached_property
    def _frames(self) -> list[Frame]:
        raise_problems(self.root, (f"{part.name}: {problem}" for part in self.parts for problem in part.validate()))
        frames = [frame for part in self.parts for frame in part.frames()]
        seen = {diagnosis for frame in frames for diagnosis in frame.diagnoses}
        unknown = sorted(diagnosis for diagnosis in seen if not self.label_map.knows(diagnosis))
        if unknown:
            raise DataError(
                f"{self.root}: {summarize_names(unknown, 'diagnostic term')} not in {self.label_map.where}. "
                "Fix: copy vapray/data/colonoscopy/labels.yaml, add them, and set data.labels to the copy."
            )
        return frames

    @cached_property
    def _labelled(self) -> list[tuple[Frame, str]]:
        labelled = [(frame, label) for frame in self._frames if (label := self.label_map.label(frame.diagnoses))]
        if not labelled:
            raise DataError(f"{self.root}: no frame has a label in {self.label_map.where}. See data.labels.")
        return labelled
