"""Cost estimate of the evaluation."""

from vapray.captioning.forecast import measuring_seconds
from vapray.config import Config
from vapray.data.forecast import reading_seconds
from vapray.memorisation.candidates import MAX_HELD_OUT
from vapray.memorisation.planting import PLANTED, PLANTS
from vapray.runtime.forecast import WORKSPACE_BYTES, Forecast, ForecastInputs, Images, part_overhead, pool_size

__all__ = ["classified_images", "classifier_seconds", "forecast", "reduced_rows", "reference_rows"]

# Rates of one core of the laptop. Features are computed at 64 pixels for any image.
SECONDS_OF_FEATURES = 9e-3
FLOPS_OF_A_CLASSIFIED_PIXEL, IMAGES_OF_A_STEP, FLOPS_OF_A_CORE = 15e3, 48, 20e9
SECONDS_OF_A_JUDGED_PIXEL, IMAGES_OF_A_JUDGE_S_STEP = 1.4e-6, 64
BYTES_OF_A_ROW, BYTES_OF_A_REPORT = 400, 250_000
# Trained extractors: multiplications per image, and width; for dinov2 those of ViT-B.
TRAINED = {
    "inception_v3": (5.7e9, 2048),
    "vgg16": (15.5e9, 4096),
    "squeezenet": (0.8e9, 512),
    "densenet121": (2.8e9, 1024),
    "dinov2": (22e9, 768),
    "biomedclip": (17.6e9, 512),
    "classifier": (0.0, 256),
}
# Bytes per image in the copy search: a training image has one view, the others have 100.
BYTES_OF_A_VIEW, BYTES_OF_A_THUMBNAIL, VIEWS = 14 * 14 * 3, 32 * 32 * 3, 100
# Twelve planes of 64 x 64 float32, their padded copies and their inputs.
BYTES_OF_FEATURES, PICTURES_AT_ONCE = 12 * 66 * 66 * 4 * 3, 128


def forecast(outlook: ForecastInputs) -> Forecast:
    """Estimate the cost of real images of two splits, reconstructions, samples, class means and planted copies."""
    config, images, pool = outlook.config, outlook.images, outlook.config.pools.evaluate
    workers, device = pool_size(pool)
    real, pixels = images.splits.get("train", 0) + images.held_out, config.data.image_size**2
    samples, candidates = outlook.rows["samples"], min(images.held_out, MAX_HELD_OUT) + config.sample.n_images
    candidates += _planted(images)
    attributes = (images.held_out + config.sample.n_images) * measuring_seconds(config)
    seconds_of_features, features = _of_features(config)
    measured = reference_rows(images) + samples
    measuring = measured * seconds_of_features + real * reading_seconds(images) + attributes
    pairs = candidates * images.splits.get("train", 0)
    searching = pairs * VIEWS * 2 * BYTES_OF_A_VIEW / FLOPS_OF_A_CORE
    pixel_bytes = images.splits.get("train", 0) * BYTES_OF_A_VIEW + 2 * candidates * BYTES_OF_A_THUMBNAIL
    row_bytes = BYTES_OF_A_ROW + 4 * features
    return Forecast(
        rows=samples,
        part_bytes=(measured + 2 * candidates) * row_bytes + pixel_bytes + part_overhead(measured, pool),
        file_bytes=2 * BYTES_OF_A_REPORT,
        startup_seconds=6.0,
        work_seconds=(measuring + searching) / workers + classifier_seconds(config),
        peak_bytes=WORKSPACE_BYTES
        + PICTURES_AT_ONCE * BYTES_OF_FEATURES
        + classified_images(config, images) * pixels * 3 * 2,
        workers=workers,
        device=device,
    )


def reference_rows(images: Images) -> int:
    """Rows of ``reference_measurements``: real images, a reconstruction and a class mean per held-out one, copies."""
    return images.splits.get("train", 0) + 3 * images.held_out + _planted(images)


def reduced_rows(config: Config, images: Images) -> int:
    """Rows of ``reference_measurements`` that the driver holds: those of the samples."""
    settings, train = config.evaluate, images.splits.get("train", 0)
    held_out = min(images.held_out, settings.held_out_images)
    return min(train, settings.reference_images) + 3 * held_out + _planted(images)


def classified_images(config: Config, images: Images) -> int:
    """Training images that one process holds: those of the label classifier."""
    return min(images.splits.get("train", 0), config.evaluate.classifier_images)


def _planted(images: Images) -> int:
    return min(PLANTED, images.splits.get("train", 0)) * len(PLANTS)


def _of_features(config: Config) -> tuple[float, int]:
    """Seconds per image on one core, and features per row beyond the embedded extractor's."""
    if config.evaluate.features not in TRAINED:
        return SECONDS_OF_FEATURES, 0
    multiplications, width = TRAINED[config.evaluate.features]
    return 2 * multiplications / FLOPS_OF_A_CORE, width


def classifier_seconds(config: Config) -> float:
    """Seconds of the tasks that train the classifier and, beside it, the attribute judge of phantoms."""
    settings, pixels = config.evaluate, config.data.image_size**2
    classifying = settings.classifier_steps * IMAGES_OF_A_STEP * pixels * FLOPS_OF_A_CLASSIFIED_PIXEL / FLOPS_OF_A_CORE
    judge_steps = settings.judge_steps if config.data.source == "phantom" else 0
    return max(classifying, judge_steps * IMAGES_OF_A_JUDGE_S_STEP * pixels * SECONDS_OF_A_JUDGED_PIXEL)
