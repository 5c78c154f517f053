"""Forecast of stage bank."""

from dataclasses import dataclass

from vapray.bank.tower_files import find_tower
from vapray.config import Config
from vapray.errors import VaprayError
from vapray.runtime.forecast import WORKSPACE_BYTES, Forecast, ForecastInputs, flop_rate, part_overhead, pool_size

__all__ = ["SECONDS_OF_A_REMOVAL", "context_width", "forecast", "tokens_of_a_caption"]

# The hashing encoder drops function words; the others count word pieces, punctuation, CLS and SEP. A language model's
# captions are longer than the measured ones.
USUAL_WORDS, USUAL_PIECES, PIECES_OF_A_LANGUAGE_MODEL = 16, 40, 90
# Compressed share of two bytes per value. Hashed words repeat in a part, and Parquet writes them once; a text tower's
# tokens depend on their neighbours and do not repeat.
PACKED_WORDS, PACKED_PIECES = 0.25, 0.9
SECONDS_OF_A_WORD = 40e-6
SECONDS_OF_A_REMOVAL = 0.06  # of statements from a language model's description; a quarter of it from a template's
BYTES_OF_A_CAPTION, BYTES_OF_THE_WORDS_OF_A_PART = 60, 5000
SECONDS_TO_LOAD_A_TOWER = 15.0
TEXTS_AT_ONCE, KEPT_OF_A_TOKEN = 32, 12
# The matrix products of a text tower are large: on one core a BERT-base ran at 90 GFLOP/s.
OF_LARGE_PRODUCTS = 4
# The weights read from the file and those of the network are in memory together.
COPIES_IN_LOADING = 2


@dataclass(frozen=True)
class _Tower:
    width: int
    depth: int
    weight_bytes: int


# BERT-base with the image tower of BiomedCLIP; used when the model's files are not on this machine.
LIKELY_TOWER = _Tower(768, 12, 784_000_000)


def tokens_of_a_caption(config: Config) -> int:
    """Estimate the mean number of tokens of a caption, within the encoder's window."""
    bank = config.text_encoder
    if bank.context_length == "full":
        return bank.max_tokens
    pieces = USUAL_PIECES if config.caption.captioner == "measured" else PIECES_OF_A_LANGUAGE_MODEL
    return min(USUAL_WORDS if bank.encoder == "hashing" else pieces, bank.max_tokens)


def context_width(config: Config) -> int:
    """Get the width of a token, from the encoder's own files where they are on this machine."""
    return config.text_encoder.width if config.text_encoder.encoder == "hashing" else _tower(config).width


def forecast(outlook: ForecastInputs) -> Forecast:
    """Forecast stage bank: every caption is encoded once, 1:1, to L x width float16 values."""
    config, rows = outlook.config, outlook.rows["captions"]
    pool, hashing = config.pools.bank, config.text_encoder.encoder == "hashing"
    workers, device = pool_size(pool)
    # Parts of the captions are never merged.
    parted = min(pool, config.pools.caption, key=lambda either: either.batch_rows)
    words = BYTES_OF_THE_WORDS_OF_A_PART * -(-rows // parted.batch_rows) if hashing else 0
    context = tokens_of_a_caption(config) * context_width(config) * 2
    startup, seconds, weights, basis = _work(config, device)
    seconds += SECONDS_OF_A_REMOVAL if config.caption.trust == "audited" else 0.0
    return Forecast(
        rows=rows,
        part_bytes=rows * (BYTES_OF_A_CAPTION + context * (PACKED_WORDS if hashing else PACKED_PIECES))
        + words
        + part_overhead(rows, parted),
        file_bytes=0,
        startup_seconds=startup,
        work_seconds=rows * seconds / workers,
        peak_bytes=pool.batch_rows * context * 3 + weights,
        workers=workers,
        device=device,
        basis=basis,
    )


def _work(config: Config, device: str) -> tuple[float, float, float, str]:
    """Estimate seconds to start, seconds per caption, bytes of weights and activations, and the basis of the rates."""
    tokens = tokens_of_a_caption(config)
    rate, basis = flop_rate(device)
    if config.text_encoder.encoder == "hashing":
        return 2.0, tokens * SECONDS_OF_A_WORD, 0.0, Forecast.basis
    tower = _tower(config)
    multiplications = tower.depth * (12 * tower.width**2 + 2 * tokens * tower.width) * tokens
    activations = TEXTS_AT_ONCE * tokens * tower.width * KEPT_OF_A_TOKEN * 4
    weights = tower.weight_bytes * COPIES_IN_LOADING + activations + WORKSPACE_BYTES
    return SECONDS_TO_LOAD_A_TOWER, 2 * multiplications / (rate * OF_LARGE_PRODUCTS), weights, basis


def _tower(config: Config) -> _Tower:
    try:
        files = find_tower(config.text_encoder, download=False)
        return _Tower(files.width, files.depth, sum(path.stat().st_size for path in files.weights))
    except VaprayError:
        return LIKELY_TOWER
