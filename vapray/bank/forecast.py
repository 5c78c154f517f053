"""What encoding captions would cost."""

from vapray.config import Config
from vapray.forecast import Forecast, Outlook, of_pool, part_overhead

__all__ = ["forecast", "tokens_of_a_caption"]

USUAL_TOKENS = 16
# Of two bytes a value: the same words come again in a part, and Parquet writes them once.
PACKED = 0.25
SECONDS_OF_A_TOKEN = 40e-6
BYTES_OF_A_CAPTION, BYTES_OF_THE_WORDS_OF_A_PART = 60, 5000


def tokens_of_a_caption(config: Config) -> int:
    """As many as measured captions have on average, within the encoder's window."""
    return min(USUAL_TOKENS, config.bank.max_tokens)


def forecast(outlook: Outlook) -> Forecast:
    """Every caption once, 1:1; a context takes L x width float16 values."""
    config, rows = outlook.config, outlook.rows["captions"]
    pool = config.pools.bank
    workers, device = of_pool(pool)
    # A part of the captions is never joined with another one.
    parted = min(pool, config.pools.caption, key=lambda either: either.batch_rows)
    words = BYTES_OF_THE_WORDS_OF_A_PART * -(-rows // parted.batch_rows)
    context = tokens_of_a_caption(config) * config.bank.width * 2
    return Forecast(
        rows=rows,
        part_bytes=rows * (BYTES_OF_A_CAPTION + context * PACKED) + words + part_overhead(rows, parted),
        file_bytes=0,
        startup_seconds=2.0,
        work_seconds=rows * tokens_of_a_caption(config) * SECONDS_OF_A_TOKEN / workers,
        peak_bytes=pool.batch_rows * context * 3,
        workers=workers,
        device=device,
    )
