"""Validation of training: Fréchet distance to the validation split, and the losses of held-out and training images.

The distance is between images generated for the captions of validation images, and these images. Captions, classes and
noise are the same at every step, so two values differ by the weights only. It uses few solver steps and no guidance:
the later sampling settings do not decide which weights are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.bank.factory import build_text_encoder
from vapray.bank.prompt_bank import PromptBank
from vapray.bank.text_encoder import TextEncoder
from vapray.config import Config, Evaluate, Sample
from vapray.data.image_loading import load_square_images
from vapray.errors import DataError
from vapray.evaluation.features import FeatureExtractor, build_extractor
from vapray.evaluation.validation_loss import losses_by_class, validation_losses
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
        training: the same of as many training images.
        bank: Version with the captions.
        autoencoder: Version with the autoencoder.
        space: Normalization of the latents.
        class_names: Class names, by label.
    """

    config: Config
    rows: tuple[dict[str, Any], ...]
    training: tuple[dict[str, Any], ...]
    bank: Version
    autoencoder: Version
    space: LatentSpace
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, config: Config, images: Version, bank: Version, latents: Version, autoencoder: Version) -> Self | None:
        """Select up to ``train.validation_images`` evenly from each split; None without validation."""
        if not config.train.validate_every:
            return None
        captions = bank.read(["image_id", "label", "split", "caption"])
        rows = captions.join(images.read(["image_id", "path"]), "image_id", join_type="inner").sort_by("image_id")
        held_out = rows.filter(pc.field("split") == "validation")
        if held_out.num_rows < 2:
            return None
        count = min(held_out.num_rows, config.train.validation_images)
        return cls(
            config,
            _take_evenly(held_out, count),
            _take_evenly(rows.filter(pc.field("split") == "train"), count),
            bank,
            autoencoder,
            LatentSpace.from_record(latents.require_manifest().notes["latent_space"]),
            tuple(images.require_manifest().notes["class_names"]),
        )

    def prepare(self) -> None:
        """Load and compute all that no step changes, so that missing weights are found before the first step."""
        _ = self._real, self._held_out.latents, self._trained.latents, self._encoder, self._captions

    def __call__(self, network: Network) -> dict[str, float]:
        """Compute ``validation_distance`` of the network's images, ``validation_loss``, and ``training_images_loss``.

        The losses are those of held-out images, also by class, and of training images, at the same noise levels. A
        network that memorizes training images lowers the second and raises the first. The second is left out if no
        training image can be read.
        """
        sampler, held_out, trained = self._sampler(network), self._held_out, self._trained
        losses = self._losses(sampler, held_out)
        values = {
            "validation_distance": self._distance(sampler),
            **losses_by_class(losses, [row["label"] for row in held_out.rows], self.class_names),
        }
        if trained.rows:
            values["training_images_loss"] = float(self._losses(sampler, trained).mean())
        return values

    def _losses(self, sampler: Sampler, seen: "_Encoded") -> Tensor:
        labels = [row["label"] for row in seen.rows]
        requests = sampler.requests(labels, [row["caption"] for row in seen.rows], range(len(seen.rows)), SETTINGS)
        contexts = [request.context_LD for request in requests]
        return validation_losses(sampler.network, self.config, seen.latents, labels, contexts)

    def _distance(self, sampler: Sampler) -> float:
        begins = range(0, len(self._held_out.rows), IMAGES_OF_A_BATCH)
        made = np.concatenate([self._make(sampler, begin) for begin in begins])
        return frechet_distance(FeatureStatistics.of(self._extractor(made)), self._real)

    def _make(self, sampler: Sampler, begin: int) -> NDArray[np.uint8]:
        rows = self._held_out.rows[begin : begin + IMAGES_OF_A_BATCH]
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
    def _extractor(self) -> FeatureExtractor:
        settings = self.config.train
        asked = Evaluate(features=settings.validation_features, weights=settings.validation_weights)
        return build_extractor(asked, "cuda" if settings.use_gpu else "cpu")

    @cached_property
    def _real(self) -> FeatureStatistics:
        if len(self._held_out.rows) < 2:
            raise DataError(
                f"validation: {len(self._held_out.rows)} of {len(self.rows)} validation images can be read, at least 2 "
                "are needed. Fix: restore the files of data.root, or set train.validate_every=0."
            )
        return FeatureStatistics.of(self._extractor(self._held_out.frames))

    @cached_property
    def _held_out(self) -> "_Encoded":
        return self._encode(self.rows)

    @cached_property
    def _trained(self) -> "_Encoded":
        return self._encode(self.training)

    def _encode(self, rows: Sequence[dict[str, Any]]) -> "_Encoded":
        """Read and encode the images whose files can be read."""
        frames, kept, _ = load_square_images([row["path"] for row in rows], self.config.data.image_size)
        if not kept:
            return _Encoded((), frames, torch.zeros(0))
        moments = self._decoder.encode_moments(frames)
        latents = self.space.normalize(moments[:, : self.space.channels].float())
        return _Encoded([rows[place] for place in kept], frames, latents)


@dataclass(frozen=True)
class _Encoded:
    """Rows, images uint8 [B, H, W, 3], and the normalized means of their moments [B, C, h, w]."""

    rows: Sequence[dict[str, Any]]
    frames: NDArray[np.uint8]
    latents: Tensor


def _take_evenly(rows: pa.Table, count: int) -> tuple[dict[str, Any], ...]:
    chosen = np.linspace(0, rows.num_rows - 1, min(rows.num_rows, count)).astype(int)
    return tuple(rows.take(chosen).to_pylist())
