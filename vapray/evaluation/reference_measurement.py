"""Map worker that measures real images for the reference set."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vapray.config import Config
from vapray.data.image_loading import load_square_images
from vapray.evaluation.attribute_judge import AttributeJudge
from vapray.evaluation.classifier import Classifier
from vapray.evaluation.features import build_extractor
from vapray.evaluation.measurement import ImageMeasurer
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.latent_space import split_moments
from vapray.latents.loading import load_run_autoencoder
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

__all__ = ["TABLE", "MeasureRealImages", "build_measurer"]

TABLE = "reference_measurements"


def build_measurer(config: Config, classifier: Classifier, judge: AttributeJudge | None = None) -> ImageMeasurer:
    """Build the measurement that the reference set uses, for images of any set."""
    extractor = build_extractor(config.evaluate, config.pools.evaluate.device, classifier)
    return ImageMeasurer(extractor, classifier, config.data.modality, judge, config.caption.detail)


class MeasureRealImages:
    """Map worker: rows of images to rows of the sets reference, held_out and reconstructed."""

    def __init__(
        self, config: Config, autoencoder: Version, classifier: Classifier, judge: AttributeJudge | None
    ) -> None:
        self._side = config.data.image_size
        self._autoencoder = load_run_autoencoder(autoencoder, config.pools.evaluate.device)
        self._measurer = build_measurer(config, classifier, judge)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Measure a batch; an image that cannot be read is a reject."""
        asked = rows.to_pylist()
        frames, kept, reasons = load_square_images([row["path"] for row in asked], self._side)
        train = np.array([asked[position]["split"] == "train" for position in kept], dtype=bool)
        ids = np.array([asked[position]["image_id"] for position in kept], dtype=object)
        labels = np.array([asked[position]["label"] for position in kept], dtype=np.int64)
        done: list[dict[str, Any]] = []
        for name, chosen in (("reference", train), ("held_out", ~train), ("reconstructed", ~train)):
            images = frames[chosen]
            if name == "reconstructed" and len(images):
                images = _reconstruct(self._autoencoder, images)
            done += self._measurer.rows(name, ids[chosen].tolist(), labels[chosen].tolist(), images)
        rejects = {f"image/{asked[position]['image_id']}": reason for position, reason in reasons.items()}
        return build_part(TABLES[TABLE], done, rejects)


def _reconstruct(autoencoder: Autoencoder, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    means, _ = split_moments(autoencoder.encode_moments(images))
    return autoencoder.decode(means)
