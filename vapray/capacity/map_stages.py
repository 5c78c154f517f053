"""Estimate of a stage that maps rows over a pool of actors."""

import math

from vapray.capacity.constants import Cost
from vapray.capacity.estimate import ONE_PROCESS, StageEstimate, TableSize, Workload, slowest
from vapray.config import Pool
from vapray.data.forecast import reading_seconds
from vapray.evaluation.forecast import classified_images, classifier_seconds, reduced_rows
from vapray.runtime.placement import bundles_per_node
from vapray.runtime.work_plan import stretch_length
from vapray.sampling.forecast import SECONDS_TO_WRITE
from vapray.store.parts import READERS
from vapray.store.receipts import ROWS_OF_A_PIECE

__all__ = ["MappedStage"]

PUTS_PER_STAGE, GETS_PER_STAGE = 3, 3
"""Requests for lease and manifest, whatever the number of parts."""
READINGS_OF_A_PIECE = 2
"""When a stage is sealed: spans, then parts."""


class MappedStage:
    """One stage over the rows of a source table; ``written`` is the size of the table that it writes."""

    def __init__(self, stage: str, source: TableSize, work: Workload) -> None:
        self._stage, self._source, self._work = stage, source, work
        self._constants, self._forecast = work.constants, work.forecasts[stage]
        self._pool: Pool = getattr(work.config.pools, stage)
        self._items = source.items(self._pool.batch_rows)
        self._files = self._forecast.rows if stage == "sample" else 0
        self._classifier_seconds = classifier_seconds(work.config) if stage == "evaluate" else 0.0
        self._images_in_one_process = classified_images(work.config, work.images) if stage == "evaluate" else 0
        self.written = TableSize(self._forecast.rows, self._items, self._forecast.part_bytes)
        self._pieces = math.ceil(self._items / ROWS_OF_A_PIECE)

    def estimate(self) -> StageEstimate:
        """Estimate the stage."""
        workers = min(self._actors(), self._items)
        cause, actor_seconds = self._actor_seconds()
        stretches = math.ceil(self._items / stretch_length(self._items, workers))
        scheduling = stretches * self._constants["driver_item_seconds"]
        cause, seconds = slowest({cause: math.ceil(self._items / workers) * actor_seconds, "scheduling": scheduling})
        reading = self._images_in_one_process * reading_seconds(self._work.images)
        return StageEstimate(
            self._stage,
            workers,
            math.ceil(workers * self._pool.num_gpus),
            {
                "startup": Cost(self._forecast.startup_seconds),
                "driver": self._driver_seconds(),
                cause: seconds,
                ONE_PROCESS: Cost(self._classifier_seconds + reading),
            },
            self._bytes_read(),
            self._forecast.bytes_written,
            puts=PUTS_PER_STAGE + self._items + self._files + self._pieces,
            gets=GETS_PER_STAGE + self._items * self._source.gets_per_part + READINGS_OF_A_PIECE * self._pieces,
            driver_bytes=self._driver_bytes(),
            process_bytes=Cost(self._forecast.peak_bytes),
        )

    def _actors(self) -> int:
        plan, gpus = self._work.plan, self._work.plan.gpus_of_stage(self._stage)
        if self._pool.num_gpus:
            return max(1, bundles_per_node({"GPU": gpus}, {"GPU": self._pool.num_gpus}))
        return max(1, gpus * plan.cores_per_gpu // math.ceil(self._pool.num_cpus))

    def _actor_seconds(self) -> tuple[str, Cost]:
        """Cause and seconds from one item of an actor to the next; ``overlap`` hides what its device does not do."""
        commit = self._constants["put_seconds"] * (1 + self._files / self._items) + self._constants["get_seconds"]
        store = {"store latency": commit + self._constants["actor_item_seconds"]}
        total = self._forecast.work_seconds - self._classifier_seconds
        by_device = {"CPU": Cost(total / self._items)} | store
        if self._pool.num_gpus:
            decoding = reading_seconds(self._work.images)
            rows = {"caption": decoding, "encode": decoding, "evaluate": decoding, "sample": SECONDS_TO_WRITE}
            row = rows.get(self._stage, 0.0)
            on_core = min(total, self._source.rows * row)
            on_gpu = (total - on_core) / self._items / self._constants[f"{self._stage}_gpu_speed"]
            by_device = {"GPU": on_gpu, "CPU of a GPU actor": Cost(on_core / self._items)} | store
        device, overlapped = (
            next(iter(by_device.values())),
            sum(by_device.values(), Cost(0)) * (1 / self._pool.max_concurrency),
        )
        return slowest(by_device)[0], device if device.value > overlapped.value else overlapped

    def _driver_seconds(self) -> Cost:
        """Seconds for planning, receipts and sealing."""
        waiting = READINGS_OF_A_PIECE * self._pieces / READERS * self._constants["get_seconds"]
        return waiting + self._source.rows * self._constants["driver_row_seconds"]

    def _bytes_read(self) -> Cost:
        parts = max(1, self._items / self._source.parts) * self._source.bytes
        if self._stage in ("bank", "sample"):
            return Cost(parts)
        samples = self._work.forecasts["sample"].rows if self._stage == "evaluate" else 0
        return parts + (self._source.rows - samples) * self._work.plan.pixels * self._constants["bytes_per_pixel"]

    def _driver_bytes(self) -> Cost:
        held = self._constants["driver_bytes"] + self._constants["driver_row_bytes"] * self._source.rows
        if self._stage == "sample":
            held += self._work.images.splits["train"] * self._constants["prompt_bank_bytes"]
        if self._stage == "evaluate":
            rows = reduced_rows(self._work.config, self._work.images) + self._forecast.rows
            held += rows * self._constants["report_row_bytes"]
        return held
