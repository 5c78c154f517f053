"""Cost estimate of the measurements of the caption audit."""

from dataclasses import replace

from vapray.captioning.forecast import forecast as forecast_captioning
from vapray.captioning.forecast import measuring_seconds
from vapray.data.forecast import reading_seconds
from vapray.runtime.forecast import Forecast, ForecastInputs, part_overhead

__all__ = ["forecast"]

BYTES_OF_A_ROW = {"measured": 90, "precomputed": 250, "ground_truth": 250, "vllm": 900, "openai": 900}


def forecast(outlook: ForecastInputs) -> Forecast:
    """Estimate the cost of measuring the sample and captioning part of it again; measured captions need neither."""
    config, captioner = outlook.config, outlook.config.caption.captioner
    rows = min(config.caption_audit.images, outlook.rows["captions"])
    captioning = forecast_captioning(outlook)
    asks = captioner in {"vllm", "openai"} and config.caption_audit.repeats
    repeated = min(config.caption_audit.repeated_images, rows) * config.caption_audit.repeats if asks else 0
    measuring = rows * (measuring_seconds(config) + reading_seconds(outlook.images))
    work = 0.0 if captioner == "measured" else measuring / captioning.workers
    return replace(
        captioning,
        rows=rows,
        part_bytes=rows * BYTES_OF_A_ROW[captioner]
        + part_overhead(1 if captioner == "measured" else rows, config.pools.caption),
        startup_seconds=captioning.startup_seconds if asks else 3.0,
        work_seconds=work + captioning.work_seconds * repeated / max(1, captioning.rows),
    )
