"""What captioning would cost."""

from vapray.data.forecast import reading_seconds
from vapray.forecast import Forecast, Outlook, of_pool, part_overhead

__all__ = ["forecast"]

# One core of the laptop; given captions take reading only.
SECONDS_TO_MEASURE_A_PIXEL = 2e-6
BYTES_OF_A_ROW = 150
MEASURED_IN_MEMORY = 60  # bytes of a pixel: masks, distances and smoothed planes of one picture


def forecast(outlook: Outlook) -> Forecast:
    """Every picture is read and looked at once, 1:1."""
    config, rows = outlook.config, outlook.rows["images"]
    pool, side = config.pools.caption, config.caption.image_side
    workers, device = of_pool(pool)
    looking = side**2 * SECONDS_TO_MEASURE_A_PIXEL if config.caption.captioner == "measured" else 0.0
    return Forecast(
        rows=rows,
        part_bytes=rows * BYTES_OF_A_ROW + part_overhead(rows, pool),
        file_bytes=0,
        startup_seconds=3.0,
        work_seconds=rows * (looking + reading_seconds(outlook.images)) / workers,
        peak_bytes=pool.batch_rows * side**2 * 3 + max(outlook.images.pixels * 9, side**2 * MEASURED_IN_MEMORY),
        workers=workers,
        device=device,
    )
