"""SUN colonoscopy video database (Misawa et al., Gastrointestinal Endoscopy 93(4), 2021).

    root/[sundatabase_positive_part*/]case1/*.jpg            one polyp each
    root/[sundatabase_positive_part*/]annotation_txt/case1.txt   lines of: frame.jpg x0,y0,x1,y1,class
    root/sundatabase_negative_part*/case1/*.jpg              no polyp; marked by "negative" in a folder's name
    root/cases.csv                                           case,diagnosis and optionally patient

The download contains no diagnoses: write cases.csv from the table of cases on the database's page. One patient has two
polyps: fill in the column patient, or each case is a group of its own.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from vapray.data.colonoscopy.part import NO_POLYP, DatasetPart, Frame
from vapray.data.image_files import PHOTO_SUFFIXES, is_image_file
from vapray.data.label_tables import (
    Row,
    duplicates,
    find_table,
    missing_columns,
    raise_problems,
    read_rows,
    read_text,
    summarize_names,
)

__all__ = ["Sun"]


class Sun(DatasetPart):
    """Part in ``root``."""

    name = "SUN"

    def frames(self) -> list[Frame]:
        """List the frames of annotated cases, each with its case's diagnosis, and those of negative cases."""
        return [
            Frame(
                f"{self.name}/{kind}{case}/{path.stem}",
                path,
                (self._diagnosis(case) if not kind else NO_POLYP,),
                f"{self.name}/{kind}{self._patient(case) if not kind else case}",
            )
            for (kind, case), paths in self._cases.items()
            for path in paths
            if kind or path.name in self._annotated.get(case, ())
        ]

    def validate(self) -> Iterator[str]:
        """Report cases without annotation or diagnosis, and annotated frames that do not exist."""
        if not self._cases:
            yield f"no frames; expected case1, case2, ... in {self.root} or in sundatabase_* there"
        positive = [case for kind, case in self._cases if not kind]
        if bare := [case for case in positive if case not in self._annotated]:
            yield f"{summarize_names(bare, 'case')} without annotation_txt/CASE.txt; copy them there"
        if positive and self._table is None:
            missing = summarize_names(positive, "case")
            yield f"no cases.csv in {self.root}; write case,diagnosis for {missing}"
        elif unknown := [case for case in positive if not self._diagnosis(case)]:
            yield f"cases.csv has no diagnosis of {summarize_names(unknown, 'case')}; add them"
        yield from (f"cases.csv: {text}" for text in duplicates(_case(row) for row in self._rows))
        gone = [f"{case}/{name}" for case in positive for name in self._gone(case)]
        if gone:
            yield f"{summarize_names(gone, 'annotated frame')} not found; copy them there"

    def tables(self) -> list[Path]:
        """List cases.csv and the annotations."""
        return [*([self._table] if self._table else []), *self._annotation_files.values()]

    def files(self) -> list[Path]:
        """List the frames of all cases."""
        return [path for paths in self._cases.values() for path in paths]

    @property
    def _table(self) -> Path | None:
        return find_table(self.root, "cases")

    @cached_property
    def _rows(self) -> list[Row]:
        if self._table is None:
            return []
        rows = read_rows(self._table)
        raise_problems(self._table, missing_columns(rows, ("case", "diagnosis")))
        return rows

    @cached_property
    def _by_case(self) -> dict[str, Row]:
        return {_case(row): row for row in self._rows}

    def _diagnosis(self, case: str) -> str:
        return self._by_case.get(case, {}).get("diagnosis", "")

    def _patient(self, case: str) -> str:
        patient = self._by_case.get(case, {}).get("patient")
        return f"patient {patient}" if patient else case

    @cached_property
    def _cases(self) -> dict[tuple[str, str], list[Path]]:
        """Frames by kind ("" or "negative/") and case; the same numbers occur in both kinds."""
        folders = [path for depth in ("case*", "*/case*") for path in sorted(self.root.glob(depth)) if path.is_dir()]
        return {
            (_kind(folder.relative_to(self.root)), folder.name): sorted(
                path for path in folder.iterdir() if is_image_file(path, PHOTO_SUFFIXES)
            )
            for folder in folders
        }

    @cached_property
    def _annotation_files(self) -> dict[str, Path]:
        found = (path for depth in ("", "*/") for path in self.root.glob(f"{depth}annotation_txt/case*.txt"))
        return {path.stem: path for path in sorted(found)}

    @cached_property
    def _annotated(self) -> dict[str, set[str]]:
        """Frames that show the polyp, by case."""
        return {
            case: {words[0] for line in read_text(path).splitlines() if (words := line.split())}
            for case, path in self._annotation_files.items()
        }

    def _gone(self, case: str) -> list[str]:
        return sorted(self._annotated.get(case, set()) - {path.name for path in self._cases["", case]})


def _kind(folder: Path) -> str:
    return "negative/" if any("negative" in part.lower() for part in folder.parts) else ""


def _case(row: Row) -> str:
    return f"case{row['case'].removeprefix('case').strip()}"
