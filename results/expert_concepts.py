"""Measured captions and their audit against dermoscopic concepts that experts marked.

    python results/expert_concepts.py --pictures FOLDER --concepts expert_concepts.csv
        [--descriptions FOLDER] [--record results/expert_concepts/record.json] [--tables-only]

``--concepts`` has image_id, annotator and concepts, separated by blanks; results/expert_concepts/concepts.yaml maps
concepts to statements of a caption. ``--descriptions`` has captions.csv, with image_id, file and caption, of a
multimodal LLM. Pictures with two or more annotators count; those without a measurement are left out and counted.

Agreement is the informedness of one rater about another: P(says | the other says) - P(says | the other does not). It is
0 for a rater who ignores the picture and 1 for a perfect one. ``experts`` is that of one expert about another, over all
ordered pairs. Intervals are bootstrap intervals over pictures.

Source: Powers, Evaluation: from precision, recall and F-measure to ROC, informedness, markedness & correlation (2011).
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vapray.caption_audit.claims import AuditedImage
from vapray.caption_audit.findings import find
from vapray.captioning.attributes import Attributes
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.measured.dermoscopy import measure_dermoscopy
from vapray.captioning.measured.frame import SIDE
from vapray.captioning.prompt_set import Detail, load_prompt_set
from vapray.data.image_loading import load_square_images
from vapray.metrics.intervals import bootstrap_interval

DETAILS: tuple[Detail, ...] = ("plain", "rich")
HERE = Path(__file__).parent / "expert_concepts"
Concepts = Mapping[str, Mapping[str, str]]
Marks = dict[str, list[set[str]]]
"""Image -> the concepts of each annotator."""


def read_marks(path: Path) -> Marks:
    """Read the annotations of pictures with two or more annotators."""
    marks: Marks = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            marks[row["image_id"]].append(set(row["concepts"].split()) - {"MS", "None"})
    return {image: of_image for image, of_image in marks.items() if len(of_image) > 1}


def measured(paths: Mapping[str, str], detail: Detail) -> dict[str, Attributes]:
    """Measure pictures; those that cannot be measured are absent."""
    found = {}
    for image, path in paths.items():
        frames, kept, _ = load_square_images([path], SIDE)
        if kept:
            found[image] = measure_dermoscopy(frames[0], detail)
    return {image: attributes for image, attributes in found.items() if attributes}


def states(said: Attributes, concept: Mapping[str, str]) -> bool:
    """Check that attributes state what a concept implies."""
    ((attribute, value),) = [(key, value) for key, value in concept.items() if key != "name"]
    of_picture = said.get(attribute, ())
    return value == of_picture or (isinstance(of_picture, tuple) and value in of_picture)


def informedness(counts: np.ndarray) -> float:
    """Compute the informedness over pictures; the columns of ``counts`` [N, 4] are those of ``outcomes``."""
    hit, miss, false, right = counts.sum(0)
    return float(hit / (hit + miss) - false / (false + right)) if hit + miss and false + right else float("nan")


def outcomes(pairs: Sequence[tuple[bool, bool]]) -> list[int]:
    """Count hits, misses, false statements and right silences of (says, the other says)."""
    return [sum(pair == one for pair in pairs) for one in ((True, True), (False, True), (True, False), (False, False))]


def agreement(counts: list[list[int]]) -> dict[str, float | None]:
    """Informedness with its interval."""
    rows = np.array(counts)
    interval = bootstrap_interval(informedness, [rows], draws=500)
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {"value": informedness(rows), "low": low, "high": high}


def compare(marks: Marks, known: Mapping[str, Attributes], concepts: Concepts) -> Iterator[dict[str, Any]]:
    """Compare experts with each other, and the measurement with experts, concept by concept."""
    pictures = [image for image in marks if image in known]
    for code, concept in concepts.items():
        between, of_measure = [], []
        for image in pictures:
            said = [code in of_expert for of_expert in marks[image]]
            between.append(outcomes(list(permutations(said, 2))))
            says = states(known[image], concept)
            of_measure.append(outcomes([(says, one) for one in said]))
        total = np.array(of_measure).sum(0)
        yield {
            "code": code,
            "concept": concept["name"],
            "statement": next(value for key, value in concept.items() if key != "name"),
            "marked": int(total[0] + total[1]),
            "experts": agreement(between),
            "measured": agreement(of_measure),
            "contradicted": float(total[1] / (total[0] + total[1])),
            "by_chance": float((total[1] + total[3]) / total.sum()),
        }


def read_descriptions(folder: Path) -> dict[str, dict[str, str]]:
    """Read a model's descriptions: the row of each picture."""
    with (folder / "captions.csv").open(newline="", encoding="utf-8") as file:
        return {row["image_id"]: row for row in csv.DictReader(file)}


def audit_descriptions(folder: Path, detail: Detail) -> dict[str, Any]:
    """Audit the descriptions of a model against the measurement."""
    prompt_set = load_prompt_set("dermoscopy", detail)
    rows = read_descriptions(folder)
    known = measured({image: str(folder / row["file"]) for image, row in rows.items()}, detail)
    pictures = [
        AuditedImage(image, image, parse_caption(rows[image]["caption"], prompt_set), known[image]) for image in known
    ]
    found = find(pictures, prompt_set, seed=0)
    findings = {one.name: one for one in found.attributes} | {"all": found}
    attributes = {
        name: {
            "contradicted": {
                "value": one.contradicted.value,
                "low": one.contradicted.interval.low,
                "high": one.contradicted.interval.high,
            },
            "by_chance": one.by_chance,
            "statements": one.contradicted.count,
        }
        for name, one in findings.items()
        if one.contradicted
    }
    return {"captions": found.captions, "statements": found.statements, "attributes": attributes}


def tables(record: Mapping[str, Any]) -> str:
    """Lay out the record as Markdown."""
    lines = [
        f"{record['pictures']:,} pictures with two or more annotators; {record['unmeasured']} without a measurement.",
        "",
        "| concept of experts | statement | marks | expert about expert | measurement about expert | contradicted "
        "| by chance |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in record["concepts"]:
        cells = [f"{row['concept']} ({row['code']})", row["statement"], f"{row['marked']:,}"]
        cells += [_with_interval(row["experts"]), _with_interval(row["measured"])]
        cells += [f"{100 * row[key]:.0f} %" for key in ("contradicted", "by_chance")]
        lines.append(f"| {' | '.join(cells)} |")
    if described := record.get("descriptions"):
        lines += [
            "",
            f"{record['shared']} of the {described['plain']['captions']} described pictures have annotators: "
            "the tables are of different pictures.",
            "",
            "| attribute in the model's texts | statements | contradicted | by chance |",
            "| --- | ---: | ---: | ---: |",
        ]
        for name, row in (described["plain"]["attributes"] | _only_rich(described)).items():
            lines.append(f"| {name} | {row['statements']} | {_percent(**row['contradicted'])} | {_chance(row)} |")
    return "\n".join(lines)


def _only_rich(described: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the attributes that only rich captions have."""
    plain, rich = (described[detail]["attributes"] for detail in DETAILS)
    return {f"{name} (rich)": row for name, row in rich.items() if name not in plain}


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def _chance(row: Mapping[str, Any]) -> str:
    return "–" if row["by_chance"] is None else f"{100 * row['by_chance']:.0f} %"


def _with_interval(found: Mapping[str, float | None]) -> str:
    if found["low"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def main() -> None:
    """Measure, compare, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("pictures", "concepts", "descriptions"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--record", type=Path, default=HERE / "record.json")
    parser.add_argument("--tables-only", action="store_true")
    asked = parser.parse_args()
    if not (asked.tables_only or (asked.pictures and asked.concepts)):
        parser.error("--pictures and --concepts are needed, or --tables-only")
    if not asked.tables_only:
        marks = read_marks(asked.concepts)
        known = measured({image: str(asked.pictures / f"{image}.jpg") for image in marks}, "plain")
        concepts = yaml.safe_load((HERE / "concepts.yaml").read_text())
        record: dict[str, Any] = {"pictures": len(marks), "unmeasured": len(marks) - len(known)}
        record["concepts"] = list(compare(marks, known, concepts))
        if asked.descriptions:
            record["descriptions"] = {detail: audit_descriptions(asked.descriptions, detail) for detail in DETAILS}
            record["shared"] = len(marks.keys() & read_descriptions(asked.descriptions).keys())
        asked.record.write_text(json.dumps(record, indent=1) + "\n")
    print(tables(json.loads(asked.record.read_text())))


if __name__ == "__main__":
    main()
