"""One training run in this process, step by step, for benchmarks that compare recipes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vapray.bank.hashing_encoder import HashingEncoder
from vapray.config import Config
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.fit import Recipe, fit_autoencoder
from vapray.latents.latent_space import LatentSpace, LatentStatistics, flip_pair
from vapray.latents.patch_pca import fit_patch_pca
from vapray.latents.pixel_space import PixelSpace
from vapray.latents.training_loop import OnStep
from vapray.sampling.sampler import Sampler, SamplingSettings
from vapray.training.batches import Batches
from vapray.training.dataset import TrainingRows
from vapray.training.network import build_network
from vapray.training.prefetch import Prefetch
from vapray.training.state import TrainingState
from vapray.training.step import OptimizerStep

__all__ = ["Images", "TrainingArm", "TrainingSet", "fit_latents"]

Images = NDArray[np.uint8]
ENCODED_AT_ONCE = 256


def fit_latents(config: Config, images: Images, on_step: OnStep = None) -> Autoencoder:
    """Autoencoder of a configuration without a trained model: pixels, principal components, or fitted by gradients.

    Args:
        config: Section ``autoencoder`` and the seed are read.
        images: Training images.
        on_step: Called after each optimizer step of ``kl``.
    """
    asked = config.autoencoder
    if asked.kind == "pca":
        return fit_patch_pca(images, channels=asked.channels, factor=asked.factor, whitening=asked.whitening)
    if asked.kind == "pixels":
        return PixelSpace()
    sizes = (asked.channels, asked.factor, asked.width, asked.steps, asked.batch_size, asked.learning_rate)
    autoencoder, _ = fit_autoencoder(images, Recipe(*sizes, seed=config.run.seed), on_step=on_step)
    return autoencoder


@dataclass(frozen=True)
class TrainingSet:
    """Training images in one latent space, with classes and captions."""

    rows: TrainingRows
    space: LatentSpace
    autoencoder: Autoencoder
    encoder: HashingEncoder
    class_names: Sequence[str]

    @classmethod
    def of(
        cls,
        images: Images,
        labels: Sequence[int],
        captions: Sequence[str],
        class_names: Sequence[str],
        autoencoder: Autoencoder,
    ) -> "TrainingSet":
        """Encode images and mirror images, and captions."""
        seen, views, encoder = LatentStatistics(), [], HashingEncoder()
        for view in flip_pair(images):
            starts = range(0, len(view), ENCODED_AT_ONCE)
            parts = [autoencoder.encode_moments(view[start : start + ENCODED_AT_ONCE]) for start in starts]
            views.append(torch.cat(parts))
            seen.update(views[-1])
        contexts = [np.asarray(one) for one in encoder.encode_each(captions)]
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in contexts])]).astype(np.int64)
        moments = torch.stack(views, dim=1).numpy().astype(np.float16)
        rows = TrainingRows(np.array(labels, dtype=np.int32), moments, np.concatenate(contexts), offsets)
        side, scaling = moments.shape[-1], autoencoder.published_scaling
        space = LatentSpace.published(scaling, autoencoder.channels, side) if scaling else seen.space(side)
        return cls(rows, space, autoencoder, encoder, class_names)


class TrainingArm:
    """Training of one configuration on one set, on one rank.

    Attributes:
        seconds: Time of all steps so far.
    """

    def __init__(self, data: TrainingSet, config: Config) -> None:
        self.data, self.config, self.seconds = data, config, 0.0
        sizes = {"num_classes": len(data.class_names), "latent_channels": data.space.channels}
        network = build_network(config, **sizes, context_width=data.encoder.width)
        self.state = TrainingState.initial(network, config.train)
        self.state.distribute(config.train, torch.device("cpu"), rank=0, world=1)
        device, drawn = torch.device("cpu"), Batches(config, data.rows, data.space, rank=0, world=1)
        synchronous = config.train.model_copy(update={"prefetch": 0})
        self._batches = Prefetch(drawn, synchronous, max_tokens=config.text_encoder.max_tokens, device=device)
        self._optimizer = OptimizerStep(config, self.state, device)

    def step(self) -> float:
        """Take a step; return its time in seconds."""
        began = time.perf_counter()
        self._optimizer.step(self._batches.at(self.state.step))
        self.state.step += 1
        took = time.perf_counter() - began
        self.seconds += took
        return took

    def generate(self, labels: Sequence[int], captions: Sequence[str]) -> Images:
        """Generate an image for each caption by the averaged weights, with the seeds 0, 1, ..."""
        data = self.data
        sampler = Sampler(
            self.state.ema, data.autoencoder, data.encoder, None, data.space, self.config,  # type: ignore[arg-type]
            data.class_names, "0" * 64,
        )  # fmt: skip
        settings = SamplingSettings.from_config(self.config)
        made = sampler.make(labels, captions, [""] * len(labels), list(range(len(labels))), settings)
        return np.stack([image.pixels for image in made])
