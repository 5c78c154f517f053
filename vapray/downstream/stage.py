"""Stage downstream: train classifiers with and without generated images, and test them on real ones.

in    images, samples (the arm ``generated``)
out   the table ``downstream``: a row for each classifier; files/downstream/{table.md,downstream.json};
      files/NETWORK.safetensors, each network trained on all real images, from the first seed;
      files/predictions/KEY.json, the predicted classes of the test images, if ``evaluate.groups`` is set

Fan-out: each point of the grid (network, share, arm, seed) is one work item of ``pools.downstream`` and one committed
part. Points are independent and none is stopped early, so Ray Tune has nothing to schedule. Its record of trials would
also duplicate the table's parts, by which a killed stage continues.
"""

import hashlib
import json
import time
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vapray.config import Config
from vapray.downstream.group_gains import group_gains, write_predictions
from vapray.downstream.image_sets import concat, load_real, read_synthetic, side_of
from vapray.downstream.networks import to_safetensors
from vapray.downstream.scores import score
from vapray.downstream.subsets import check_groups_disjoint, rows_of_share
from vapray.downstream.summary import REGIME, markdown, summarize
from vapray.downstream.training import phases_of, probabilities, train_network
from vapray.downstream.trials import Trial, all_trials, keeps_weights
from vapray.errors import DataError, TrainingDivergedError
from vapray.runtime.row_map import map_rows, write_work_list
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import TABLES, build_part, choose_held_out_split
from vapray.store.version import Version

__all__ = ["run"]


def run(run: StageContext) -> None:
    """Run the stage."""
    config = run.config
    held_out, n_test = _held_out(run.inputs["images"])
    points = [{"key": point.key, **asdict(point)} for point in all_trials(config.downstream)]
    planned = write_work_list(run, "downstream_plan", pa.Table.from_pylist(points))
    map_rows(
        run,
        planned,
        partial(_TrainClassifiers, config, run.inputs["images"], run.inputs["samples"], held_out, run.output),
        pool=config.pools.downstream,
        columns=list(points[0]),
    )
    _write_table(run, [point["key"] for point in points], held_out, n_test)


def _held_out(images: Version) -> tuple[str, int]:
    """Select the split for testing, and count its images.

    Raises:
        DataError: there is no such split, it has fewer than two classes, or it shares a group with the train split.
    """
    rows = images.read(["split", "label", "group"])
    split = choose_held_out_split(rows.column("split").unique().to_pylist())
    train, test = (rows.filter(pc.field("split") == name) for name in ("train", split or "test"))
    if test.num_rows == 0 or len(test.column("label").unique()) < 2 or train.num_rows == 0:
        raise DataError(
            f"{images.uri}: testing needs held-out images of at least two classes, and training needs images of the "
            "train split. Fix: give the dataset such splits, or set data.test_share."
        )
    check_groups_disjoint(train.column("group").to_pylist(), test.column("group").to_pylist())
    return str(split), test.num_rows


class _TrainClassifiers:
    """Map points of the grid to trained classifiers and their scores; holds all images in memory."""

    def __init__(self, config: Config, images: Version, samples: Version, held_out: str, output: Version) -> None:
        self._config, self._output = config, output
        self._class_names: list[str] = images.require_manifest().notes["class_names"]
        real, self._test = load_real(images, "train", config), load_real(images, held_out, config)
        self._groups, self._labels = real.groups, real.labels
        self._pictures = concat(real, read_synthetic(samples, config))
        self._synthetic = np.arange(len(real.labels), len(self._pictures.labels))

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Build a part of table ``downstream``; a network with non-finite outputs becomes a reject."""
        done, rejects = [], {}
        for row in rows.to_pylist():
            point = Trial(**{name: row[name] for name in ("network", "share", "arm", "seed")})
            try:
                done.append(row | self._train(point))
            except TrainingDivergedError as error:
                rejects[row["key"]] = str(error)
        return build_part(TABLES["downstream"], done, rejects)

    def _train(self, point: Trial) -> dict[str, Any]:
        began, settings, device = time.monotonic(), self._config.downstream, self._config.pools.downstream.device
        chosen = rows_of_share(self._groups, self._labels, point.share, self._config.run.seed)
        phases = phases_of(point.arm, chosen, self._synthetic, settings)
        network = train_network(
            point.network,
            self._pictures,
            phases,
            settings,
            num_classes=len(self._class_names),
            seed=point.seed,
            device=device,
        )
        predicted = probabilities(network, self._test.images, device)
        found = score(predicted, self._test.labels)
        if self._config.evaluate.groups:
            write_predictions(self._output, point.key, predicted)
        weights = to_safetensors(network, point.network, self._class_names, side_of(self._config))
        if keeps_weights(point, settings):
            self._output.files.write(f"{self._output.folder}/files/{point.network}.safetensors", weights)
        return {
            "n_real": len(chosen),
            "n_real_groups": len({self._groups[row] for row in chosen}),
            "n_synthetic": 0 if point.arm == "real" else len(self._synthetic),
            "n_test": len(self._test.labels),
            "steps": sum(phase.steps for phase in phases),
            "auc": found.auc,
            "f1": found.f1,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "seconds": time.monotonic() - began,
        }


def _write_table(run: StageContext, keys: list[str], held_out: str, n_test: int) -> None:
    by_key = {row["key"]: row for row in run.output.read().to_pylist()}
    groups = summarize([by_key[key] for key in keys if key in by_key])
    test = {"split": held_out, "images": n_test}
    record: dict[str, Any] = {"regime": REGIME, "test": test, "rows": [asdict(group) for group in groups]}
    table = markdown(groups, f"{n_test:,} real images of the {held_out} split")
    if gains := group_gains(run, [by_key[key] for key in keys if key in by_key], held_out):
        record["groups"] = gains.to_dict()
        table += gains.markdown()
    folder = f"{run.output.folder}/files/downstream"
    run.output.files.write(f"{folder}/downstream.json", json.dumps(record, indent=2).encode())
    run.output.files.write(f"{folder}/table.md", table.encode())
    run.progress.log(f"wrote the table {run.output.files.path(folder)}/table.md")
