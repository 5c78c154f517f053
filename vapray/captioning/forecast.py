"""Cost estimate of captioning."""

from vapray.config import Config
from vapray.config.captioning import MEASURED_MODALITY
from vapray.data.forecast import reading_seconds
from vapray.runtime.forecast import Forecast, ForecastInputs, flop_rate, part_overhead, pool_size

__all__ = ["forecast", "measuring_seconds"]

# Seconds of one core of the laptop; images are measured at one side, whatever their size.
SECONDS_TO_MEASURE = {"plain": 0.019, "rich": 0.03}
# A model of 7e9 parameters over 1,500 tokens: both turns of a conversation, what the prefix cache spares left out.
FLOPS_OF_A_CONVERSATION = 2 * 7e9 * 1500
SECONDS_TO_START_AN_ENGINE = 90.0
BYTES_OF_A_ROW = {"measured": 150, "precomputed": 150, "ground_truth": 150, "vllm": 500, "openai": 500}
BLIND = ("precomputed", "ground_truth")  # captioners that read no image
MEASURED_IN_MEMORY = 60  # bytes of a pixel: masks, distances and smoothed planes of one image


def forecast(outlook: ForecastInputs) -> Forecast:
    """Estimate the stage: each image is read and captioned once; given and drawn captions read none."""
    config, rows = outlook.config, outlook.rows["images"]
    pool, side, captioner = config.pools.caption, config.caption.image_size, config.caption.captioner
    workers, device = pool_size(pool)
    starts = 2 if 0 < config.caption.pilot < rows else 1  # engines of the pilot and of the other images
    reading = 0.0 if captioner in BLIND else reading_seconds(outlook.images)
    image_bytes = pool.batch_rows * side**2 * 3 + max(outlook.images.pixels * 9, side**2 * MEASURED_IN_MEMORY)
    return Forecast(
        rows=rows,
        part_bytes=rows * BYTES_OF_A_ROW[captioner] + part_overhead(rows, pool),
        file_bytes=0,
        startup_seconds=SECONDS_TO_START_AN_ENGINE * starts if captioner == "vllm" else 3.0,
        work_seconds=rows * (_looking_seconds(captioner, config.caption.detail, device) + reading) / workers,
        peak_bytes=0 if captioner in BLIND else image_bytes,
        workers=workers,
        device=device,
    )


def _looking_seconds(captioner: str, detail: str, device: str) -> float:
    """Estimate the seconds for one image on one worker; an endpoint is assumed to have one GPU."""
    if captioner == "measured":
        return SECONDS_TO_MEASURE[detail]
    if captioner in BLIND:
        return 0.0
    return FLOPS_OF_A_CONVERSATION / flop_rate("GPU" if captioner == "openai" else device)[0]


def measuring_seconds(config: Config) -> float:
    """Estimate the seconds to measure one image on one core; 0 in modalities whose images are not measured."""
    return SECONDS_TO_MEASURE[config.caption.detail] if config.data.modality == MEASURED_MODALITY else 0.0
