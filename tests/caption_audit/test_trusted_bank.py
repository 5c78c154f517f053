"""Trusted captions through the stages: the attribute that is always wrong, and only that one, leaves the bank."""

import json
import shutil
from pathlib import Path

import pytest

from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import load_prompt_set
from vapray.config.loader import load_config
from vapray.errors import ConfigError
from vapray.pipeline.dry_run import plan_run
from vapray.pipeline.stages import STAGES, deciding_sections, with_inputs
from vapray.store.run_store import Store

DERMOSCOPY = load_prompt_set("dermoscopy")
WRONG = ("caption.captioner=ground_truth", "caption.corruption_rate=1.0", "caption.corrupted_attributes=[shape]")
TRUST = "caption.trust=audited"


@pytest.fixture(scope="module")
def trusted(small_run: Path, joined_job, tmp_path_factory) -> Path:
    """A run over captions of which every shape of a training image is wrong, as far as the bank."""
    root = tmp_path_factory.mktemp("trusted") / "run"
    shutil.copytree(small_run / "images", root / "images")
    for stage in ("caption", "audit", "bank"):
        done = joined_job(stage, *WRONG, TRUST, root=root)
        assert done.returncode == 0, done.stdout + done.stderr
    return root


def captions(root: Path, table: str) -> dict[str, str]:
    (version,) = Store(str(root)).finished(table)
    return {row["image_id"]: row["caption"] for row in version.read(["image_id", "caption"]).to_pylist()}


def test_the_wrong_attribute_and_only_that_one_is_left_out_of_the_bank(trusted: Path) -> None:
    before, after = captions(trusted, "captions"), captions(trusted, "prompt_bank")
    assert before.keys() == after.keys()
    for image_id, text in before.items():
        said = parse_caption(text, DERMOSCOPY)
        assert "shape" in said
        assert parse_caption(after[image_id], DERMOSCOPY) == {name: said[name] for name in said if name != "shape"}


def test_audit_bank_and_page_say_what_is_left_out_and_why(trusted: Path) -> None:
    audit, bank = (Store(str(trusted)).latest(table) for table in ("audits", "prompt_bank"))
    assert list(bank.notes["untrusted"]) == list(audit.notes["untrusted"]) == ["shape"]
    assert "worse than chance: 100%" in bank.notes["untrusted"]["shape"]
    assert audit.notes["removed"] == {"edited": 90}
    record = json.loads((trusted / "audit" / "audit.json").read_text())
    trust = {one["name"]: one for one in record["trust"]}
    assert {name for name, one in trust.items() if one["reason"] == "better than chance"} == set(trust) - {"shape"}
    page = (trusted / "audit" / "index.html").read_text()
    assert page.count("<strong>left out</strong>") == 1


def test_held_out_captions_do_not_decide(trusted: Path) -> None:
    """Captions of held-out images are true: with them, less than all shapes would be contradicted."""
    record = json.loads((trusted / "audit" / "audit.json").read_text())
    decided = next(one for one in record["trust"] if one["name"] == "shape")["contradicted"]
    shown = next(one for one in record["findings"]["attributes"] if one["name"] == "shape")["contradicted"]
    rows = Store(str(trusted)).finished("images")[0].read(["split"]).column(0).to_pylist()
    assert (decided["value"], decided["count"]) == (1.0, rows.count("train"))
    assert shown["value"] < 1.0 < shown["count"] / decided["count"]


def test_the_bank_waits_for_the_audit_and_runs_again_only_if_its_result_changes(
    trusted: Path, joined_job, tmp_path: Path
) -> None:
    root = tmp_path / "run"
    shutil.copytree(trusted, root)
    done = joined_job("audit", *WRONG, TRUST, "caption_audit.rated_images=2", root=root)
    assert "[audit] runs again: caption_audit.rated_images: 3 -> 2" in done.stdout
    done = joined_job("bank", *WRONG, TRUST, "caption_audit.rated_images=2", root=root)
    assert "[bank] unchanged" in done.stdout
    refused = joined_job("bank", *WRONG, TRUST, "caption_audit.images=80", root=root)
    assert refused.returncode != 0
    assert "bank needs the output of audit" in refused.stderr


def test_the_default_is_in_no_fingerprint_and_needs_no_audit() -> None:
    default, audited = load_config(None), load_config(None, [*WRONG, TRUST])
    keys = {key for stage in STAGES for key in deciding_sections(stage, default)}
    assert not keys & {"caption.trust", "caption.corrupted_attributes"}
    changed = {stage.name for stage in STAGES if "caption.trust" in deciding_sections(stage, audited)}
    assert changed == {"audit", "bank"}
    assert with_inputs(["bank"], default) == ("ingest", "caption", "bank")
    assert with_inputs(["bank"], audited) == ("ingest", "caption", "caption_audit_sample", "audit", "bank")


def test_a_dry_run_tells_that_the_bank_waits_for_the_audit(tmp_path: Path) -> None:
    settings = [
        f"run.root={tmp_path / 'run'}",
        f"data.root={tmp_path / 'phantoms'}",
        "data.phantom.n_images=20",
        *WRONG,
    ]
    (alone,) = plan_run(load_config(None, [*settings, TRUST]), ["bank"])
    assert alone.waits_for == ("caption", "audit")
    assert not any(plan.waits_for for plan in plan_run(load_config(None, [*settings, TRUST])))
    (untouched,) = plan_run(load_config(None, settings), ["bank"])
    assert untouched.waits_for == ("caption",)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.source=chestxray14", "data.modality=chest_xray"], "attributes are measured in dermoscopy and known of"),
        (["data.source=isic2018", "caption.captioner=measured"], "would be audited by the measurement that wrote them"),
    ],
)
def test_captions_that_nothing_independent_checks_are_refused(settings: list[str], words: str) -> None:
    others = ["data.root=.", "caption.model=any"]
    captioner = [] if "caption.captioner=measured" in settings else ["caption.captioner=openai"]
    with pytest.raises(ConfigError, match=f"caption.trust = audited: .*{words}"):
        load_config(None, [*settings, *captioner, *others[: 1 + bool(captioner)], TRUST])
