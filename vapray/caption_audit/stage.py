"""Stage audit: compare captions with their images, with repeated captions and with expert ratings.

in    captions, audit_measurements; captions of other runs, ratings of experts
out   files/audit/{audit.json, index.html, rating_sheet.html}; with caption.trust=audited the untrusted attributes

It runs in the driver: the expensive measurements are in ``audit_measurements``, so new ratings cost seconds.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from vapray.caption_audit.claims import AuditedImage, claims_of
from vapray.caption_audit.experts import ExpertFindings, summarize_ratings
from vapray.caption_audit.findings import Findings, RepeatedCaptions, find, find_consistency
from vapray.caption_audit.other_captions import compare_captions
from vapray.caption_audit.page import MEASURED, WORST_SIDE, Audit, WorstCaption, render_audit
from vapray.caption_audit.rating_sheet import SHEET_SIDE, SheetCaption, render_rating_sheet
from vapray.caption_audit.ratings import read_ratings
from vapray.caption_audit.trust import AttributeTrust, judge_attributes
from vapray.captioning.attributes import Attributes, attributes_from_json
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_selection import configured_prompt_set
from vapray.captioning.prompt_set import PromptSet
from vapray.captioning.statement_removal import remove_statements
from vapray.config import Config, modality_name
from vapray.config.captioning import MEASURED_MODALITY
from vapray.data.dataset import true_attributes
from vapray.data.image_loading import load_square_images
from vapray.errors import DataError
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import REJECT
from vapray.store.version import Version

__all__ = ["run"]

Rows = Sequence[dict[str, Any]]


def run(run: StageContext) -> None:
    """Run the stage."""
    config = run.config
    prompt_set = configured_prompt_set(config)
    rows = run.inputs["audit_measurements"].read().to_pylist()
    if not rows:
        raise DataError(f"{run.inputs['audit_measurements'].uri}: no captions to audit.")
    pictures = [_described(row, known, prompt_set) for row, known in zip(rows, _known(rows, config), strict=True)]
    audit = _audit(run, rows, pictures, prompt_set)
    sheet = _sheet(rows, pictures, prompt_set, config)
    if config.caption.trust == "audited":
        _decide(run, rows, audit.trust, prompt_set)
    _write(run.output, "audit.json", json.dumps(_record(audit), indent=1))
    _write(run.output, "index.html", render_audit(audit))
    _write(run.output, "rating_sheet.html", render_rating_sheet(sheet, run.output.fingerprint))
    run.notes["rows"] = len(rows)


def _decide(run: StageContext, rows: Rows, trust: Sequence[AttributeTrust], prompt_set: PromptSet) -> None:
    """Record the untrusted attributes for stage bank, which runs again only if they change."""
    untrusted = {one.name: str(one) for one in trust if not one.trusted}
    removed = [remove_statements(row["caption"], prompt_set, untrusted) for row in rows]
    run.notes["untrusted"] = untrusted
    run.notes["removed"] = dict(Counter(one.how if one else "nothing left" for one in removed))
    run.notes["content_hash"] = hashlib.sha256(json.dumps(sorted(untrusted)).encode()).hexdigest()[:16]
    for reason in untrusted.values():
        run.progress.log(f"left out of captions: {reason}")
    if not untrusted:
        run.progress.log("every attribute of the captions is resolved to be better than chance")


def _known(rows: Rows, config: Config) -> list[Attributes]:
    """Known attributes of each image: the truth for phantoms, else the measured ones."""
    truth = true_attributes(config)
    if truth is not None:
        return [truth[row["image_id"]] for row in rows]
    return [attributes_from_json(row["measured"]) if row["measured"] else {} for row in rows]


def _described(row: Mapping[str, Any], known: Attributes, prompt_set: PromptSet) -> AuditedImage:
    return AuditedImage(row["image_id"], row["group"], parse_caption(row["caption"], prompt_set), known)


def _audit(run: StageContext, rows: Rows, pictures: Sequence[AuditedImage], prompt_set: PromptSet) -> Audit:
    config, seed = run.config, run.config.run.seed
    findings = find(pictures, prompt_set, seed=seed)
    questioned = [
        RepeatedCaptions(row["image_id"], [parse_caption(text, prompt_set) for text in row["recaptions"]])
        for row in rows
        if row["recaptions"]
    ]
    captions = run.upstream["caption"]
    by_id = {row["image_id"]: row for row in rows}
    return Audit(
        modality=modality_name(prompt_set.name),
        captioner=_captioner(run.inputs["captions"]),
        reference=_reference(config),
        created=time.strftime("%Y-%m-%d %H:%M"),
        captions=captions.rows,
        rejects=_reject_codes(run.inputs["captions"]),
        omitted=config.caption.omit,
        findings=findings,
        consistency=find_consistency(questioned, prompt_set, seed=seed),
        others=[
            compare_captions(root, content, pictures, prompt_set, seed=seed)
            for root, content in zip(
                config.caption_audit.others, run.external_inputs["other captions"].split(), strict=True
            )
        ],
        experts=_experts(rows, pictures, prompt_set, config),
        worst=_worst(findings, by_id),
        trust=_trust(rows, pictures, prompt_set, config),
    )


def _trust(
    rows: Rows, pictures: Sequence[AuditedImage], prompt_set: PromptSet, config: Config
) -> tuple[AttributeTrust, ...]:
    if config.caption.trust == "all":
        return ()
    training = [picture for row, picture in zip(rows, pictures, strict=True) if row["split"] == "train"]
    return judge_attributes(training, prompt_set, seed=config.run.seed)


def _captioner(captions: Version) -> str:
    row = next(part for part in captions.read_parts(["model", "revision", "strategy"]) if part.num_rows).to_pylist()[0]
    if row["model"] == "measured":
        return MEASURED
    return f"{row['model']}, revision {row['revision']}, {row['strategy']}"


def _reference(config: Config) -> str:
    if config.data.source == "phantom":
        return "truth"
    if config.caption.captioner == "measured" or config.data.modality != MEASURED_MODALITY:
        return "nothing"
    return "measurement"


def _reject_codes(captions: Version) -> dict[str, int]:
    """Number of images without a caption, by the code at the start of the reason."""
    codes: Counter[str] = Counter()
    for part in captions.read_parts([REJECT], rejects=True):
        reasons = part.column(REJECT).drop_null().to_pylist()
        codes.update(reason.partition(":")[0] for reason in reasons)
    return dict(codes.most_common())


def _experts(
    rows: Rows, pictures: Sequence[AuditedImage], prompt_set: PromptSet, config: Config
) -> ExpertFindings | None:
    if not config.caption_audit.ratings:
        return None
    verdicts: dict[tuple[str, str], bool] = {}
    for one in pictures:
        for claim in claims_of(one.said, one.known, prompt_set):
            key = one.image_id, claim.attribute
            verdicts[key] = verdicts.get(key, False) or claim.contradicted
    return summarize_ratings(
        [read_ratings(path) for path in config.caption_audit.ratings],
        {row["image_id"]: row["cache_key"] for row in rows},
        {row["image_id"]: row["group"] for row in rows},
        verdicts,
    )


def _worst(findings: Findings, by_id: Mapping[str, dict[str, Any]]) -> list[WorstCaption]:
    frames, kept, _ = load_square_images([by_id[one.image_id]["path"] for one in findings.worst], WORST_SIDE)
    chosen = [findings.worst[number] for number in kept]
    return [WorstCaption(frame, by_id[one.image_id]["caption"], one) for frame, one in zip(frames, chosen, strict=True)]


def _sheet(rows: Rows, pictures: Sequence[AuditedImage], prompt_set: PromptSet, config: Config) -> list[SheetCaption]:
    order = np.random.default_rng(config.run.seed).permutation(len(rows))[: config.caption_audit.rated_images]
    frames, kept, _ = load_square_images([rows[number]["path"] for number in order], SHEET_SIDE)
    return [
        SheetCaption(
            rows[number]["image_id"],
            rows[number]["cache_key"],
            frame,
            rows[number]["caption"],
            tuple(name for name in prompt_set.attributes if name in pictures[number].said),
        )
        for number, frame in zip(order[kept], frames, strict=True)
    ]


def _record(audit: Audit) -> dict[str, Any]:
    """All numbers of the audit, without the images."""
    return asdict(replace(audit, worst=()))


def _write(output: Version, name: str, text: str) -> None:
    output.files.write(f"{output.folder}/files/audit/{name}", text.encode())
