"""Class folders as rows: ``CLASS/...`` or ``SPLIT/CLASS/...``, also below wrapper folders and beside masks.

``datasets`` of Hugging Face is not used: it labels an image by the folder next to it, takes a folder that is no split
for a split or drops it, and does not report the files that it leaves out.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from vapray.data.file_tree import COPY, FileTree, is_table_name, suffix_of
from vapray.data.label_tables import raise_problems, summarize_names
from vapray.data.reading import Reading
from vapray.data.split_names import describe_splits, is_split_name, splits_of_names
from vapray.errors import DataError

__all__ = ["is_generic_name", "is_mask_folder", "read_class_folders"]

MASK_FOLDER = re.compile(
    r"(mask|segmentation|annotation|ground[-_ ]?truth|gt)s?"
    r"|.*[-_ ](masks|segmentations|annotations)|(masks|segmentations|annotations)[-_ ].*",  # with_mask may be a class
    re.IGNORECASE,
)
MASK_FILE = re.compile(r"(.+)[-_ ](?:mask|segmentation|superpixels|seg|gt)(?:[-_ ]\d+)?\.[^.]+", re.IGNORECASE)
GENERIC = re.compile(
    r"(ham10000[-_ ])?(image|img|picture|photo|pic|data|input|frame|jpe?g|png|dicom|file|part)s?"
    r"([-_ ]*(part)?[-_ ]*\d+)*"
)
LOOSE, MASK = "image outside of a class folder", "mask"
DATA_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".xlsx", ".xls", ".ods", ".json", ".jsonl", ".parquet")

Folders = dict[str, list[str]]


def is_generic_name(name: str) -> bool:
    """Return True if a folder's name, such as ``images`` or ``images_part_1``, is no name of a class."""
    return GENERIC.fullmatch(name.lower()) is not None


def is_mask_folder(name: str) -> bool:
    """Return True if a folder's name is that of segmentations."""
    return MASK_FOLDER.fullmatch(name) is not None


def read_class_folders(tree: FileTree) -> Reading:
    """Read the images below each class folder.

    Raises:
        DataError: no images, folders that are no classes, splits beside other folders or inside of classes, class
            folders without a supported image.
    """
    if tree.files and tree.outer_links:
        links = summarize_names(sorted(tree.outer_links), "folder")
        raise DataError(f"{tree.root}: {links} linked from outside of {tree.root}. Fix: copy the files into it.")
    found = Reading([])
    images = [path for path in tree.files if path in tree.images]
    found.left_out |= dict.fromkeys(_masks(images), MASK)
    classes = list(_classes(tree, found))
    inner = _inner_names(tree, classes)
    raise_problems(tree.root, _problems(tree, classes, inner))
    found.warnings |= dict(_warnings(tree, inner))
    if not classes:
        loose = f"{summarize_names(images, 'image')} outside of class folders" if images else "no images"
        raise DataError(
            f"{tree.root}: {loose}{_unread_tables(tree)}. Fix: write metadata.csv with file_name, label and optionally "
            "group, or make one folder per class."
        )
    found.rows = [
        {"file_name": path, "label": name, "split": split}
        for split, name, paths in classes
        for path in paths
        if path in tree.images
    ]
    rows = {row["file_name"] for row in found.rows}
    found.left_out |= {path: LOOSE for path in images if path not in rows and path not in found.left_out}
    return found


def _classes(tree: FileTree, found: Reading) -> Iterator[tuple[str, str, list[str]]]:
    """List the classes as (split, name, files). Files of unsupported formats are listed, so that no class is missed."""
    other = [path for path in tree.files if not is_table_name(path) and path not in found.left_out]
    prefix, folders = _unwrap([path for path in other if not _in_masks(_folder(path))], found)
    found.left_out |= dict.fromkeys(_copies(tree, prefix, folders), COPY)
    folders = {name: paths for name, paths in folders.items() if paths[0] not in found.left_out}
    splits = splits_of_names(folders, tree.root / prefix, "folder")
    held_out = len(set(splits.values())) > 1
    found.rules += _describe(splits, held_out)
    for outer, files in folders.items():
        inner = _inner_classes(outer, files, f"{prefix}{outer}/") if splits else {outer: files}
        yield from ((splits[outer] if held_out else "", name, paths) for name, paths in inner.items())


def _describe(splits: dict[str, str], held_out: bool) -> list[str]:
    if splits and not held_out:
        return [f"Only one split is given ({', '.join(splits)}): its images are split by data.test_share."]
    return describe_splits(splits)


def _group(paths: Iterable[str], prefix: str) -> Folders:
    """Group the paths below ``prefix`` by the next folder; files directly there are left out."""
    folders: Folders = {}
    start = len(prefix)
    for path in paths:
        end = path.find("/", start)
        if end > 0 and path.startswith(prefix):
            folders.setdefault(path[start:end], []).append(path)
    return folders


def _unwrap(paths: list[str], found: Reading) -> tuple[str, Folders]:
    """Find the level of the classes or splits: descend while a folder contains one folder and no image beside it."""
    prefix = ""
    while True:
        folders = _group(paths, prefix)
        only = next(iter(folders)) if len(folders) == 1 else None
        inner = _group(paths, f"{prefix}{only}/") if only is not None else {}
        direct = sum(map(len, folders.values())) - sum(map(len, inner.values()))
        if only is None or direct or not inner or is_split_name(only):
            break
        prefix = f"{prefix}{only}/"
    if prefix:
        found.rules.append(f"Folder {prefix} only contains the dataset and is no class.")
    return prefix, folders


def _inner_classes(outer: str, paths: list[str], prefix: str) -> Folders:
    """Group a split's images by class; a folder of the split's own name inside of it is a wrapper."""
    classes = _group(paths, prefix)
    same = len(classes) == 1 and next(iter(classes)).lower() == outer.lower()
    return _group(paths, f"{prefix}{next(iter(classes))}/") if same else classes


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _in_masks(folder: str) -> bool:
    return any(map(is_mask_folder, folder.split("/")))


def _masks(images: list[str]) -> Iterator[str]:
    """List images in folders of masks, and those named after another image: ``3_mask.png`` beside ``3.png``."""
    of_masks = tuple(f"{folder}/" for folder in set(map(_folder, images)) if _in_masks(folder))
    yield from (path for path in images if path.startswith(of_masks))
    named = {path: match[1] for path in images if (match := MASK_FILE.fullmatch(path))}
    stems = {os.path.splitext(path)[0] for path in images} if named else set()
    yield from (path for path, stem in named.items() if stem in stems)
    yield from _named_like_images(images)


def _named_like_images(images: list[str]) -> Iterator[str]:
    """List the files of folders beside a folder such as ``images`` whose files all have the names of images there."""
    by_parent: dict[str, dict[str, dict[str, str]]] = {}
    for path in images:
        parent, _, name = _folder(path).rpartition("/")
        stem = os.path.splitext(os.path.basename(path))[0]
        by_parent.setdefault(parent, {}).setdefault(name, {})[stem] = path
    for folders in by_parent.values():
        of_images = [files for name, files in folders.items() if is_generic_name(name)]
        for name, files in folders.items():
            if not is_generic_name(name) and any(image.keys() >= files.keys() for image in of_images):
                yield from files.values()


def _copies(tree: FileTree, prefix: str, folders: Folders) -> Iterator[str]:
    """List the files of a folder that repeats its siblings: the same names and sizes, one level deeper."""
    for name, paths in folders.items():
        start = len(prefix) + len(name) + 1
        siblings = {path for other, files in folders.items() if other != name for path in files}
        outer = [f"{prefix}{path[start:]}" for path in paths]
        if siblings.issuperset(outer) and all(map(tree.are_copies, paths, outer)):
            yield from paths


def _problems(
    tree: FileTree, classes: list[tuple[str, str, list[str]]], inner: Mapping[str, set[str]]
) -> Iterator[str]:
    names = sorted({name for _, name, _ in classes})
    generic = [name for name in names if is_generic_name(name)]
    if generic:
        yield (
            f"{summarize_names(generic, 'folder')} naming no class{_unread_tables(tree)}; write metadata.csv with "
            "file_name, label and optionally group, or make one folder per class"
        )
    if len(repeated := sorted(name for name, of_classes in inner.items() if len(of_classes) > 1)) > 1:
        yield (
            f"{summarize_names(repeated, 'folder')} repeated below several of the {len(names)} folders that would be "
            f"classes ({', '.join(names[:5])}); either may be the class. Write metadata.csv with file_name, label and "
            "group, or move the images into one folder per class"
        )
    if alike := sorted(inner.keys() & names):
        yield f"{summarize_names(alike, 'class')} also a folder below another class; move the images into one folder"
    if len(names) == 1 and not generic and (tables := _data_tables(tree)):
        yield (
            f"1 class ({names[0]}) beside {summarize_names(tables, 'table')} that would not be read; write "
            "metadata.csv with file_name, label and optionally group, or remove the table"
        )
    if splits := sorted(name for name in names if is_split_name(name)):
        yield f"{summarize_names(splits, 'class')} named like a split; rename the folder, or move it above the classes"
    splits_inside = {
        folder
        for _, name, paths in classes
        for folder in set(map(_folder, paths))
        if any(map(is_split_name, folder.partition(f"{name}/")[2].split("/")))
    }
    if splits_inside:
        yield f"{summarize_names(sorted(splits_inside), 'split folder')} inside of a class; move them above the classes"
    for paths in (files for _, _, files in classes):
        if tree.images.isdisjoint(paths):
            suffixes = ", ".join(sorted({suffix_of(path) or "no suffix" for path in paths}))
            yield f"folder {os.path.dirname(paths[0])}: no supported image, only {suffixes}; convert them, or remove it"


def _below_class(folder: str, name: str) -> str:
    """Get the first folder below a class folder in a path; empty for the class folder itself, and for ``images``."""
    inner = f"/{folder}/".partition(f"/{name}/")[2].split("/")
    return next((folder for folder in inner if not is_generic_name(folder)), "")


def _inner_names(tree: FileTree, classes: list[tuple[str, str, list[str]]]) -> dict[str, set[str]]:
    """Map the folders below the classes that contain images to the classes."""
    found: dict[str, set[str]] = {}
    for _, name, paths in classes:
        for folder in {_folder(path) for path in paths if path in tree.images}:
            if inner := _below_class(folder, name):
                found.setdefault(inner, set()).add(name)
    return found


def _warnings(tree: FileTree, inner_names: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Warn about folders below the classes, and tables beside them that are not read."""
    if len(inner := sorted(inner_names)) > 1:
        found = f"{summarize_names(inner, 'folder')} below the class folders: each counts as part of its class."
        yield found, "If they are classes, patients or lesions, write metadata.csv with file_name, label and group."
    if tables := _data_tables(tree):
        found = f"{summarize_names(tables, 'table')} not read: the labels are the names of the folders."
        yield found, "If a table has the labels or patients, write metadata.csv with file_name, label and group."


def _data_tables(tree: FileTree) -> list[str]:
    return [path for path in tree.files if path.lower().endswith(DATA_SUFFIXES)]


def _unread_tables(tree: FileTree) -> str:
    tables = _data_tables(tree)
    return f" ({summarize_names(tables, 'table')} not read)" if tables else ""
