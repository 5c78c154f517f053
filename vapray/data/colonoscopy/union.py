"""The union: whichever of the parts lie in the folder, under common labels, split as one.

root/PolypsSet, root/SUN, root/Mesejo, each optional. The paper's fourth, private part cannot be had.
"""

from collections import Counter
from functools import cached_property
from pathlib import Path

from vapray.data.colonoscopy.frames import Frame, Part
from vapray.data.colonoscopy.label_map import load_label_map
from vapray.data.colonoscopy.mesejo import Mesejo
from vapray.data.colonoscopy.polypsset import PolypsSet
from vapray.data.colonoscopy.sun import Sun
from vapray.data.label_tables import duplicates, list_first, refuse
from vapray.data.records import ImageRecord, ImageSource, dataset_folder, in_order, sign_files
from vapray.data.splits import split_by_group
from vapray.errors import DataError

__all__ = ["Colonoscopy"]

PARTS: tuple[type[PolypsSet] | type[Sun] | type[Mesejo], ...] = (PolypsSet, Sun, Mesejo)


class Colonoscopy(ImageSource):
    """An ImageSource over the parts that lie in one folder.

    Args:
        root: holds a folder for each part, of its name.
        labels: a YAML file that maps the parts' diagnoses to common labels; None: the one that comes with vapray.
        validation_share: of the frames, in whole patients, lesions or sequences.
        test_share: the same to test on.
        seed: of the split.

    Raises:
        DataError: no part is there, or one cannot be used (here, or in ``records``).
        ConfigError: the label map cannot be used.
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
        """Look for the parts."""
        self.root = dataset_folder(root, f"that holds {', '.join(part.name for part in PARTS)}")
        self.validation_share, self.test_share, self.seed = validation_share, test_share, seed
        self.label_map = load_label_map(labels)
        self.parts: list[Part] = [part(self.root / part.name) for part in PARTS if (self.root / part.name).is_dir()]
        if not self.parts:
            names = ", ".join(f"{part.name}/" for part in PARTS)
            raise DataError(f"{self.root}: none of {names} in it. Give data.root the folder that holds one or more.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted({label for _, label in self._labelled}))

    def records(self) -> list[ImageRecord]:
        """Every frame with one label, sorted by split (train, validation, test) and id.

        Raises:
            DataError: files missing, diagnoses that the label map does not know: all that is wrong in one error.
        """
        names = self.class_names
        records = [
            ImageRecord(frame.image_id, label, names.index(label), "train", frame.group, str(frame.path))
            for frame, label in self._labelled
        ]
        refuse(self.root, duplicates(record.image_id for record in records))
        return in_order(
            split_by_group(records, validation_share=self.validation_share, test_share=self.test_share, seed=self.seed)
        )

    def signature(self) -> str:
        """The sha256 over names, sizes and times of all files and over the tables' bytes, and the label map's."""
        files = (path for part in self.parts for path in part.files())
        return (
            f"{sign_files(self.root, files, (t for part in self.parts for t in part.tables()))} {self.label_map.digest}"
        )

    def notes(self) -> list[str]:
        """What each part brings, what is left out, and which parts overlap."""
        kept = Counter(frame.image_id.partition("/")[0] for frame, _ in self._labelled)
        groups = len({frame.group for frame, _ in self._labelled})
        brought = ", ".join(f"{kept[part.name]:,} from {part.name}" for part in self.parts)
        found = [f"Frames of {groups:,} sequences, lesions or patients: {brought}."]
        if left_out := len(self._frames) - len(self._labelled):
            found.append(f"{left_out:,} frames have no label in {self.label_map.where}, or several, and are left out.")
        return [*found, *(f"{leak} {advice}" for leak, advice in self.leaks().items())]

    def leaks(self) -> dict[str, str]:
        """Lesions that two parts have in common."""
        if not {"PolypsSet", "Mesejo"} <= {frame.image_id.partition("/")[0] for frame, _ in self._labelled}:
            return {}
        leak = (
            "PolypsSet holds some of Mesejo's videos and does not say which: a lesion can be in training and in test."
        )
        return {leak: "Move Mesejo out of the folder to be sure that none is."}

    @cached_property
    def _frames(self) -> list[Frame]:
        refuse(self.root, (complaint for part in self.parts for complaint in part.complaints()))
        frames = [frame for part in self.parts for frame in part.frames()]
        seen = {diagnosis for frame in frames for diagnosis in frame.diagnoses}
        unknown = sorted(diagnosis for diagnosis in seen if not self.label_map.knows(diagnosis))
        if unknown:
            raise DataError(
                f"{self.root}: {list_first(unknown, 'diagnostic term')} not in {self.label_map.where}. "
                "Copy vapray/data/colonoscopy/labels.yaml, add them there, and give it as data.labels."
            )
        return frames

    @cached_property
    def _labelled(self) -> list[tuple[Frame, str]]:
        labelled = [(frame, label) for frame in self._frames if (label := self.label_map.label(frame.diagnoses))]
        if not labelled:
            raise DataError(f"{self.root}: no frame has a label in {self.label_map.where}. See data.labels.")
        return labelled
