"""The colonoscopy union: three layouts, one set of labels, no lesion on two sides."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from vapray.data.colonoscopy.label_map import load_label_map
from vapray.data.colonoscopy.union import Colonoscopy
from vapray.data.splits import crossing_groups
from vapray.errors import ConfigError, DataError

from .layouts import draw, write_colonoscopy, write_sun_case, write_voc


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_colonoscopy(tmp_path / "colon")


def groups_of(source: Colonoscopy) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in source.records():
        found.setdefault(record.group, set()).add(record.image_id)
    return found


def test_the_parts_come_under_common_labels(root: Path) -> None:
    source = Colonoscopy(root)
    assert source.class_names == ("adenoma", "hyperplastic", "serrated")
    found = Counter((record.image_id.split("/")[0], record.class_name) for record in source.records())
    assert found == {
        ("PolypsSet", "adenoma"): 6,
        ("PolypsSet", "hyperplastic"): 3,
        ("SUN", "adenoma"): 3,
        ("SUN", "serrated"): 3,
        ("Mesejo", "adenoma"): 4,
        ("Mesejo", "serrated"): 2,
        ("Mesejo", "hyperplastic"): 2,
    }
    assert all(Path(record.path).is_file() for record in source.records())


def test_a_shuffled_frame_is_grouped_by_the_folder_that_it_came_from(root: Path) -> None:
    groups = groups_of(Colonoscopy(root))
    trained = {frozenset(int(i.rsplit("/")[-1]) for i in ids) for group, ids in groups.items() if "train2019" in group}
    assert trained == {frozenset(pair) for pair in ((0, 1), (2, 3), (4, 5))}
    assert groups["PolypsSet/val2019/3"] == {f"PolypsSet/val2019/3/{number}" for number in range(3)}


def test_frames_that_do_not_say_where_they_came_from_are_one_group(tmp_path: Path) -> None:
    for number in range(5):
        write_voc(tmp_path / "PolypsSet", f"train2019/{number}", ["adenomatous"])
    assert len(groups_of(Colonoscopy(tmp_path))) == 1


def test_both_lights_of_a_lesion_and_both_polyps_of_a_patient_are_one_group(root: Path) -> None:
    groups = groups_of(Colonoscopy(root))
    assert {image_id.split("/")[2] for image_id in groups["Mesejo/adenoma_01"]} == {"WL", "NBI"}
    assert {image_id.split("/")[1] for image_id in groups["SUN/patient p1"]} == {"case1", "case2"}


def test_no_group_is_on_two_sides_and_the_shares_hold(tmp_path: Path) -> None:
    for number in range(60):
        folder = tmp_path / "Mesejo" / "adenoma" / f"adenoma_{number:02}"
        draw(folder / "WL" / "0.png", folder / "NBI" / "0.png")
    records = Colonoscopy(tmp_path, validation_share=0.1, test_share=0.2).records()
    assert not list(crossing_groups((record.group, record.split) for record in records))
    assert Counter(record.split for record in records) == {"train": 84, "validation": 12, "test": 24}


@pytest.mark.parametrize("gone", [("SUN",), ("PolypsSet", "Mesejo"), ("SUN", "PolypsSet")])
def test_every_part_is_optional(root: Path, gone: tuple[str, ...]) -> None:
    for part in gone:
        shutil.rmtree(root / part)
    left = {record.image_id.split("/")[0] for record in Colonoscopy(root).records()}
    assert left == {"PolypsSet", "SUN", "Mesejo"} - set(gone)


def test_videos_in_two_data_sets_are_told_where_both_are_there(root: Path) -> None:
    brought, left_out, overlap = Colonoscopy(root).notes()
    assert brought == "Frames of 8 sequences, lesions or patients: 9 from PolypsSet, 6 from SUN, 8 from Mesejo."
    assert left_out.startswith("10 frames have no label")  # 3 of a cancer, 5 without a polyp, 2 of PolypsSet
    assert overlap.startswith("PolypsSet contains some of Mesejo's videos")
    shutil.rmtree(root / "PolypsSet")
    assert not any("PolypsSet contains" in note for note in Colonoscopy(root).notes())


def test_an_own_label_map_takes_the_place_of_ours(root: Path, tmp_path: Path) -> None:
    own = tmp_path / "labels.yaml"
    own.write_text(
        "labels:\n"
        "  neoplastic: [Adenoma, ADENOMATOUS, low-grade  adenoma, serrated, sessile serrated lesion, invasive cancer]\n"
        "  other: [hyperplastic, hyperplasic]\n"
        "  normal: [no polyp]\n"
    )
    source = Colonoscopy(root, labels=str(own))
    assert source.class_names == ("neoplastic", "normal", "other")
    assert Counter(record.class_name for record in source.records())["normal"] == 6
    assert source.signature() != Colonoscopy(root).signature()


def test_a_diagnosis_that_the_map_does_not_know_is_named(root: Path) -> None:
    (root / "SUN" / "cases.csv").write_text("case,diagnosis\n1,adenoma\n2,lipoma\n3,adenoma\n")
    with pytest.raises(DataError, match=r"1 diagnostic term \(lipoma\) not in labels.yaml"):
        Colonoscopy(root).records()


BROKEN = {
    "nothing": (
        lambda root: [shutil.rmtree(part) for part in list(root.iterdir())],
        "none of PolypsSet/, SUN/, Mesejo/",
    ),
    "no diagnoses": (
        lambda root: (root / "SUN/cases.csv").unlink(),
        r"no cases.csv .* 3 cases \(case1, case2, case3\)",
    ),
    "one diagnosis short": (
        lambda root: (root / "SUN/cases.csv").write_text("case,diagnosis\n1,a\n2,a\n"),
        "no diagnosis of 1 case",
    ),
    "case twice": (
        lambda root: (root / "SUN/cases.csv").write_text("case,diagnosis\n1,a\n2,a\n3,a\ncase1,a\n"),
        "1 duplicate id",
    ),
    "no annotation": (lambda root: write_sun_case(root / "SUN", "case9", 1), "1 case .case9. without annotation_txt"),
    "annotated frame gone": (
        lambda root: (root / "SUN/sundatabase_positive_part1/case1/0.jpg").unlink(),
        "1 annotated frame .case1/0.jpg. not found",
    ),
    "frames in a video": (
        lambda root: (root / "Mesejo/adenoma/adenoma_01/other.mp4").touch(),
        "1 video .* without frames; write them as PNG",
    ),
    "no frames": (lambda root: [shutil.rmtree(root / "Mesejo"), (root / "Mesejo").mkdir()], "Mesejo: no frames"),
    "no XML": (
        lambda root: (root / "PolypsSet/train2019/Annotation/0.xml").write_text("<annotation>"),
        "1 annotation .* not Pascal VOC",
    ),
    "entities in XML": (
        lambda root: (root / "PolypsSet/train2019/Annotation/0.xml").write_text(
            '<!DOCTYPE annotation [<!ENTITY a "a">]><annotation>&a;</annotation>'
        ),
        "1 annotation .* not Pascal VOC",
    ),
    "no frame": (lambda root: (root / "PolypsSet/train2019/Image/0.jpg").unlink(), "1 annotation .* without a frame"),
    "no annotation of a frame": (
        lambda root: (root / "PolypsSet/val2019/Annotation/3/0.xml").unlink(),
        "1 frame .* without",
    ),
}


@pytest.mark.parametrize(("damage", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_folder_is_an_error_that_says_where_and_what(damage, message: str, root: Path) -> None:  # type: ignore[no-untyped-def]
    damage(root)
    with pytest.raises(DataError, match=message) as caught:
        Colonoscopy(root).records()
    assert str(root) in str(caught.value)


MAPS = {
    "no map": ("- adenoma\n", "not a map of labels"),
    "no list": ("labels: {adenoma: adenoma}\n", "not a map of labels"),
    "no text": ("labels: {adenoma: [1]}\n", "not a map of labels"),
    "unknown key": ("labels: {a: [b]}\nleft-out: [c]\n", r"1 unknown key \(left-out\)"),
    "twice": ("labels: {a: [polyp], b: [Polyp]}\n", r"1 repeated diagnostic term \(polyp\). Fix: list each once"),
    "tag": ("labels: !!python/name:os.system\n", "tag"),
}


@pytest.mark.parametrize(("text", "message"), MAPS.values(), ids=MAPS)
def test_a_label_map_that_cannot_be_used(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_label_map(str(path))
    assert str(path) in str(caught.value)


def test_a_label_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.labels = .*gone.yaml: cannot be read \(No such file"):
        load_label_map(str(tmp_path / "gone.yaml"))
