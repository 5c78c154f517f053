"""Tables of precomputed captions: right, or refused before the first stage."""

from pathlib import Path

import pytest

from vapray.captioning.captioner import CaptionDraft
from vapray.captioning.content_hash import captions_content_hash
from vapray.captioning.precomputed import PrecomputedCaptions
from vapray.config.loader import load_config

from .refusal import DATA, refused

GIVEN = ["caption.captioner=precomputed", "data.source=folder", "data.root=."]

GOOD = {
    "blanks in the header": " image_id , caption \nMEL/0,a large lesion\n",
    "blanks in cells": "image_id,caption\n MEL/0 ,  a large lesion \n",
    "further columns": "caption,model,image_id\na large lesion,m,MEL/0\n",
    "a file name": "image_id,caption\nMEL/0.JPG,a large lesion\n",
    "a DICOM file": "image_id,caption\nMEL/0.dcm,a large lesion\n",
    "byte order mark, CRLF": "\ufeffimage_id,caption\r\nMEL/0,a large lesion\r\n",
    "quoted cells": '"image_id","caption"\n"MEL/0","a large lesion"\n',
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_the_caption_of_an_image_is_found(tmp_path: Path, text: str) -> None:
    table = tmp_path / "captions.csv"
    table.write_text(text, newline="")
    config = load_config(None, [*GIVEN, f"caption.captions_file={table}"])
    assert captions_content_hash(config)
    found = PrecomputedCaptions.read(str(table)).caption_for("MEL/0", "")
    assert isinstance(found, CaptionDraft)
    assert found.caption == "a large lesion"


def test_an_id_with_a_suffix_of_its_own_and_a_quoted_comma_are_kept(tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    table.write_text('image_id,caption\nscan.dcm,"a large, red lesion"\n')
    found = PrecomputedCaptions.read(str(table)).caption_for("scan.dcm", "")
    assert isinstance(found, CaptionDraft)
    assert found.caption == "a large, red lesion"


FAULTY = {
    "an unquoted comma": ("MEL/0,a large, red lesion\nMEL/1,small\n", "1 row (2) with more or fewer cells than the"),
    "a missing cell": ("MEL/0\n", "1 row (2) with more or fewer cells"),
    "two captions": ("MEL/0,large\nMEL/1,small\nMEL/0,red\n", "1 duplicate id (MEL/0); keep one row of each"),
    "two files of one id": ("MEL/0.png,large\nMEL/0.jpg,red\n", "1 duplicate id (MEL/0)"),
    "no rows": ("", "no rows"),
}


@pytest.mark.parametrize(("rows", "said"), FAULTY.values(), ids=FAULTY)
def test_a_faulty_table_is_refused_before_the_first_stage(tmp_path: Path, rows: str, said: str) -> None:
    table = tmp_path / "captions.csv"
    table.write_text(f"image_id,caption\n{rows}")
    config = load_config(None, [*GIVEN, f"caption.captions_file={table}"])
    refused(DATA, lambda: captions_content_hash(config), table, said)


def test_an_image_without_a_caption_is_told_with_an_id_of_the_table() -> None:
    reject = PrecomputedCaptions({"photos/MEL/0": "red"}).caption_for("MEL/0", "")
    assert reject.reason == "missing: no caption was given for this image; the file has ids such as photos/MEL/0"
