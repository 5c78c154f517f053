"""Stage sample: generate images from a checkpoint and the table ``prompt_bank``.

in    files/final of the checkpoint; image_id, label, caption of the bank's train split
out   sample_id, arm, label, class, caption, source_image_id, seed, png
      files/images/<arm>/<class>/<sample_id>.png, files/images/<arm>/metadata.jsonl and README.md

Arms: ``generated``; and ``untrained``, a few images of the network before its first step, which show where the metrics
start.
"""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from vapray.bank.prompt_bank import PromptBank
from vapray.config import Config
from vapray.runtime.row_map import map_rows, write_work_list
from vapray.runtime.stage_context import StageContext
from vapray.sampling.caption_source import select_captions
from vapray.sampling.checkpoint_loading import CheckpointMetadata, Weights, read_metadata
from vapray.sampling.data_card import data_card
from vapray.sampling.plan import ARMS, arm_sizes, plan_samples
from vapray.sampling.sampler import Sampler, SamplingSettings
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

__all__ = ["run"]


def run(run: StageContext) -> None:
    """Run the stage."""
    config = run.config
    bank = PromptBank.from_version(run.inputs["prompt_bank"])
    class_names = run.upstream["ingest"].notes["class_names"]
    texts = select_captions(config, run.inputs["prompt_bank"], class_names, run.external_inputs["caption run"])
    plans = [
        row
        for arm, n_images in arm_sizes(config.sample.n_images).items()
        for row in plan_samples(
            bank,
            texts,
            n_images=n_images,
            seed=config.run.seed,
            uniform_labels=config.sample.class_distribution == "uniform",
            arm=arm,
        )
    ]
    planned = write_work_list(run, "sample_plan", pa.Table.from_pylist(plans))
    build = partial(_MakeImages, config, run.inputs["checkpoints"], run.output)
    map_rows(run, planned, build, pool=config.pools.sample, columns=planned.table_spec.schema.names)
    checkpoint = read_metadata(f"{run.inputs['checkpoints'].uri}/files/final")
    _write_metadata(run.output, checkpoint, len(bank))


class _MakeImages:
    def __init__(self, config: Config, checkpoint: Version, output: Version) -> None:
        self._config, self._output = config, output
        self._path = f"{checkpoint.uri}/files/final"
        self._samplers: dict[str, Sampler] = {}

    def __call__(self, rows: pa.Table) -> pa.Table:
        done = []
        for arm in ARMS:
            asked = [row for row in rows.to_pylist() if row["arm"] == arm]
            if asked:
                done += self._make(arm, asked)
        return build_part(TABLES["samples"], done)

    def _make(self, arm: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
        images = self._sampler(arm).make(
            [row["label"] for row in asked],
            [row["caption"] for row in asked],
            [row["source_image_id"] for row in asked],
            [row["seed"] for row in asked],
            self._settings(arm),
        )
        done = [
            row | {"class": image.class_name, "png": image.to_png()} for row, image in zip(asked, images, strict=True)
        ]
        folder = f"{self._output.folder}/files/images/{arm}"
        self._output.files.write_all({f"{folder}/{row['class']}/{row['sample_id']}.png": row["png"] for row in done})
        return done

    def _settings(self, arm: str) -> SamplingSettings:
        settings = SamplingSettings.from_config(self._config)
        # An untrained network has nothing to guide by, and without guidance the arm costs half.
        return settings if arm == "generated" else replace(settings, guidance_scale=0.0, guidance_convention="excess")

    def _sampler(self, arm: str) -> Sampler:
        weights: Weights = "untrained" if arm == "untrained" else self._config.sample.weights
        if arm not in self._samplers:
            device, sample = self._config.pools.sample.device, self._config.sample
            self._samplers[arm] = Sampler.load(self._path, weights=weights, device=device, sample=sample)
        return self._samplers[arm]


def _write_metadata(output: Version, checkpoint: CheckpointMetadata, n_training: int) -> None:
    """Write the table and the data card of each arm's image folder."""
    columns = ["sample_id", "arm", "label", "class", "caption", "source_image_id", "seed"]
    rows, origins = output.read(columns).to_pylist(), checkpoint.origins
    origin = {
        "training_licence": "" if origins.has_unknown_licence else origins.licence_names,
        "training_source": f"vapray, trained on {origins.source_names}",
    }
    for arm in ARMS:
        lines = [
            json.dumps({"file_name": f"{row['class']}/{row['sample_id']}.png", **row, **origin})
            for row in rows
            if row["arm"] == arm
        ]
        folder = f"{output.folder}/files/images/{arm}"
        output.files.write(f"{folder}/metadata.jsonl", ("\n".join(lines) + "\n").encode())
        output.files.write(f"{folder}/README.md", data_card(arm, len(lines), n_training, checkpoint).encode())
