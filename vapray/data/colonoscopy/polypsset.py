"""PolypsSet (Li et al., PLOS ONE 16(8), 2021).

    root/{train,val,test}2019/Image/[SEQUENCE/]1.jpg
    root/{train,val,test}2019/Annotation/[SEQUENCE/]1.xml   Pascal VOC; objects are named adenomatous or hyperplastic

The training frames are shuffled in one folder; their sequence is the source folder in the annotation. The original
split is not used, since the union is split as a whole.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from vapray.data.colonoscopy.part import NO_POLYP, DatasetPart, Frame
from vapray.data.image_files import IMAGE_SUFFIXES, PHOTO_SUFFIXES, is_image_file
from vapray.data.label_tables import summarize_names

__all__ = ["PolypsSet"]

SPLITS = ("train2019", "val2019", "test2019")


class PolypsSet(DatasetPart):
    """Part in ``root``."""

    name = "PolypsSet"

    def frames(self) -> list[Frame]:
        """List all annotated frames that exist, with the names of their objects as diagnoses."""
        return [
            Frame(
                f"{self.name}/{annotation.with_suffix('').as_posix()}",
                self._images[annotation],
                tuple(sorted({entry.findtext("name", "").strip() for entry in tree.iter("object")})) or (NO_POLYP,),
                f"{self.name}/{_sequence(annotation, tree)}",
            )
            for annotation, tree in self._annotations.items()
            if tree is not None and annotation in self._images
        ]

    def validate(self) -> Iterator[str]:
        """Report annotations that are not XML or have no frame, and frames without an annotation."""
        if broken := [str(path) for path, tree in self._annotations.items() if tree is None]:
            yield f"{summarize_names(broken, 'annotation')} not Pascal VOC XML; copy them again"
        if alone := [str(path) for path in self._annotations if path not in self._images]:
            yield f"{summarize_names(alone, 'annotation')} without a frame in Image; copy them there"
        if bare := [str(path) for path in self._images if path not in self._annotations]:
            yield f"{summarize_names(bare, 'frame')} without a file in Annotation; copy them there"
        if not self._annotations and not self._images:
            yield f"no frames; expected {SPLITS[0]}/Image and {SPLITS[0]}/Annotation in {self.root}"

    def files(self) -> list[Path]:
        """List frames and annotations; the annotations are too many to be signed by content."""
        return [*self._images.values(), *self._xml_files.values()]

    @cached_property
    def _images(self) -> dict[Path, Path]:
        return self._below("Image", PHOTO_SUFFIXES)

    @cached_property
    def _xml_files(self) -> dict[Path, Path]:
        return self._below("Annotation", (".xml",))

    @cached_property
    def _annotations(self) -> dict[Path, ElementTree.Element | None]:
        return {key: _parse(path) for key, path in self._xml_files.items()}

    def _below(self, folder: str, suffixes: tuple[str, ...]) -> dict[Path, Path]:
        """List files by split, sequence and stem: ``val2019/3/17.xml``."""
        return {
            Path(split) / path.relative_to(self.root / split / folder).with_suffix(".xml"): path
            for split in SPLITS
            for path in sorted((self.root / split / folder).rglob("*"))
            if is_image_file(path, suffixes)
        }


def _parse(path: Path) -> ElementTree.Element | None:
    data = path.read_bytes()
    if b"<!" in data.replace(b"<!--", b""):  # DOCTYPE and ENTITY are not needed and allow entity expansion attacks
        return None
    try:
        tree = ElementTree.fromstring(data)  # noqa: S314
    except ElementTree.ParseError:
        return None
    return tree if tree.tag == "annotation" else None


def _sequence(annotation: Path, tree: ElementTree.Element) -> str:
    if len(annotation.parts) > 2:
        return annotation.parent.as_posix()
    # Some annotations have the folder in `path`, others the complete file name. Annotations without either form one
    # sequence, so that a polyp cannot be on both sides of a split.
    path = PurePosixPath(tree.findtext("path", "").strip().replace("\\", "/"))
    source = path.parent if path.suffix.lower() in IMAGE_SUFFIXES else path
    return f"{annotation.parts[0]}/{tree.findtext('folder', '').strip()}/{source.as_posix().strip('/')}"
