"""Validation metric of training: Fréchet distance to the validation split.

The distance is between images generated for the captions of validation images, and these images. Captions, classes and
noise are the same at every step, so two values differ by the weights only. It uses few solver steps and no guidance:
the later sampling settings do not decide which weights are kept.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.bank.factory import build_text_encoder
from vapray.bank.prompt_bank import PromptBank
from vapray.bank.text_encoder import TextEncoder
from vapray.config import Config, Sample
from vapray.data.image_loading import load_square_images
from vapray.evaluation.features import load_extractor
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.latent_space import LatentSpace
from vapray.latents.loading import load_run_autoencoder
from vapray.metrics.frechet import FeatureStatistics, frechet_distance
from vapray.sampling.sampler import Sampler, SamplingSettings
from vapray.store.version import Version
from vapray.training.network import Network

__all__ = ["FrechetValidation"]

SETTINGS = SamplingSettings(num_inference_steps=10, guidance_scale=0.0, guidance_convention="excess")
IMAGES_OF_A_BATCH = 64


@dataclass(frozen=True)
class FrechetValidation:
    """Validation metric, called with the averaged network on a training worker.

    Attributes:
        config: Complete config.
        rows: image_id, label, caption and path of the validation images to compare with.
        bank: Version with the captions.
        autoencoder: Version with the decoder f_D.
        space: Normalization of the latents.
        class_names: Class names, by label.
    """

    config: Config
    rows: tuple[dict[str, Any], ...]
    bank: Version
    autoencoder: Version
    space: LatentSpace
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, config: Config, images: Version, bank: Version, latents: Version, autoencoder: Version) -> Self | None:
        """Select up to ``train.validation_images`` evenly from the validation split; None without validation."""
        if not config.train.validate_every:
            return None
        held_out = pc.field("split") == "validation"
        captions = bank.read(["image_id", "label", "split", "caption"]).filter(held_out)
        rows = captions.join(images.read(["image_id", "path"]), "image_id", join_type="inner").sort_by("image_id")
        if rows.num_rows < 2:
            return None
        chosen = np.linspace(0, rows.num_rows - 1, min(rows.num_rows, config.train.validation_images)).astype(int)
        return cls(
            config,
            tuple(rows.take(chosen).to_pylist()),
            bank,
            autoencoder,
            LatentSpace.from_record(latents.require_manifest().notes["latent_space"]),
            tuple(images.require_manifest().notes["class_names"]),
        )

    def __call__(self, network: Network) -> float:
        """Compute the Fréchet distance of the network's images; lower is better."""
        sampler = self._sampler(network)
        begins = range(0, len(self.rows), IMAGES_OF_A_BATCH)
        made = np.concatenate([self._make(sampler, begin) for begin in begins])
        return frechet_distance(FeatureStatistics.of(load_extractor()(made)), self._real)

    def _make(self, sampler: Sampler, begin: int) -> NDArray[np.uint8]:
        rows = self.rows[begin : begin + IMAGES_OF_A_BATCH]
        labels, captions, sources = ([row[name] for row in rows] for name in ("label", "caption", "image_id"))
        images = sampler.make(labels, captions, sources, range(begin, begin + len(rows)), SETTINGS)
        return np.stack([image.pixels for image in images])

    def _sampler(self, network: Network) -> Sampler:
        return Sampler(
            network,
            self._decoder,
            self._encoder,
            self._captions,
            self.space,
            self.config.model_copy(update={"sample": Sample()}),
            self.class_names,
            model_sha256="",
        )

    @cached_property
    def _captions(self) -> PromptBank:
        return PromptBank.from_version(self.bank)

    @cached_property
    def _encoder(self) -> TextEncoder:
        return build_text_encoder(self.config.text_encoder, "cuda" if self.config.train.use_gpu else "cpu")

    @cached_property
    def _decoder(self) -> Autoencoder:
        return load_run_autoencoder(self.autoencoder, "cuda" if self.config.train.use_gpu else "cpu")

    @cached_property
    def _real(self) -> FeatureStatistics:
        frames, _, _ = load_square_images([row["path"] for row in self.rows], self.config.data.image_size)
        return FeatureStatistics.of(load_extractor()(frames))
