"""Cost estimate of the downstream classifiers."""

from collections.abc import Iterator

from vapray.config import Config
from vapray.data.forecast import reading_seconds
from vapray.downstream.grid import Point, is_kept, points_of
from vapray.forecast import WORKSPACE_BYTES, Forecast, Outlook, flop_rate, of_pool, part_overhead

__all__ = ["FLOPS_OF_A_PIXEL", "VALUES_OF_A_PIXEL", "forecast"]

# FLOPs of a forward pass, and values kept for the backward pass, per pixel; counted at five classes.
FLOPS_OF_A_PIXEL = {"densenet121": 112_930, "maxvit": 221_500, "small": 5_650}
VALUES_OF_A_PIXEL = {"densenet121": 651, "maxvit": 1_533, "small": 29}
PARAMETERS = {"densenet121": 6_960_000, "maxvit": 30_400_000, "small": 41_000}
# Passes: forward, backward by weights, backward by inputs. Bytes: weights, gradients and AdamW's two moments, 4 each.
PASSES, BYTES_OF_A_PARAMETER = 3, 16
BYTES_OF_A_TABLE, BYTES_OF_A_GROUP, BYTES_OF_A_POINT = 9_000, 900, 20


def forecast(outlook: Outlook) -> Forecast:
    """Estimate the cost: classifiers train for equal steps and score all held-out images; actors read all images."""
    config, images, settings = outlook.config, outlook.images, outlook.config.downstream
    workers, device = of_pool(config.pools.downstream)
    rate, basis = flop_rate(device)
    points = points_of(settings)
    train, test = images.splits.get("train", 0), images.held_out
    synthetic = settings.n_synthetic or config.sample.n_images
    passes = PASSES * settings.steps * settings.batch_size + test
    flops = sum(FLOPS_OF_A_PIXEL[point.network] for point in points) * passes * _pixels(config)
    reading = (train + test) * reading_seconds(images)
    groups = len(points) / len(settings.seeds)
    return Forecast(
        rows=len(points),
        part_bytes=part_overhead(len(points), config.pools.downstream),
        file_bytes=_weights(config) + BYTES_OF_A_TABLE + groups * BYTES_OF_A_GROUP + len(points) * BYTES_OF_A_POINT,
        startup_seconds=6.0 + reading,
        work_seconds=flops / rate / min(workers, len(points)),
        peak_bytes=WORKSPACE_BYTES
        + max(_training_bytes(config))
        + (2 * (train + synthetic) + test) * _pixels(config) * 3,
        workers=workers,
        device=device,
        basis=basis,
    )


def _pixels(config: Config) -> int:
    return (config.downstream.image_side or config.data.image_size) ** 2


def _weights(config: Config) -> int:
    kept: Iterator[Point] = (point for point in points_of(config.downstream) if is_kept(point, config.downstream))
    return sum(4 * PARAMETERS[point.network] for point in kept)


def _training_bytes(config: Config) -> Iterator[float]:
    for network in config.downstream.networks:
        activations = 4 * config.downstream.batch_size * _pixels(config) * VALUES_OF_A_PIXEL[network]
        yield BYTES_OF_A_PARAMETER * PARAMETERS[network] + activations
