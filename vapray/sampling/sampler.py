"""Public Python API: load a checkpoint and generate images.

sampler = Sampler.load("runs/demo/checkpoints/<fingerprint>/files/final")
generated = sampler.generate(label="MEL", seed=7)[0]
generated.image.save("melanoma.png")
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.bank.prompt_bank import PromptBank
from vapray.bank.text_encoder import TextEncoder
from vapray.config import Config, Sample
from vapray.data.origins import OriginSummary
from vapray.diffusion.engine import SamplingEngine
from vapray.diffusion.image_request import ImageRequest
from vapray.errors import ConfigError
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.latent_space import LatentSpace
from vapray.models.uvit import UViT, without_prototypes
from vapray.sampling.checkpoint_loading import LoadedCheckpoint, Weights, require_device
from vapray.sampling.generated import GeneratedImage, Prototypes, SamplingSettings
from vapray.sampling.rendering import build_engine, render
from vapray.sampling.request import label_index, validate_request
from vapray.training.network import Network

__all__ = ["GeneratedImage", "Sampler", "SamplingSettings"]


class Sampler:
    """Loaded model that generates images. Not for clinical use."""

    def __init__(
        self,
        network: Network,
        autoencoder: Autoencoder,
        encoder: TextEncoder,
        bank: PromptBank,
        space: LatentSpace,
        config: Config,
        class_names: Sequence[str],
        model_sha256: str,
        origins: OriginSummary | None = None,
    ) -> None:
        self.network, self.autoencoder, self.encoder, self.bank = network.eval(), autoencoder, encoder, bank
        self.space, self.config, self.class_names = space, config, tuple(class_names)
        self.model_sha256, self.origins = model_sha256, origins or OriginSummary()
        self.engine = build_engine(self.network, config, space)

    @classmethod
    def load(
        cls,
        path: str,
        *,
        weights: Weights = "ema",
        device: str = "cpu",
        text_encoder: str | None = None,
        sample: Sample | None = None,
    ) -> Self:
        """Load a checkpoint's ``final`` folder.

        Args:
            path: Local path or URI of the folder.
            weights: ``ema`` (moving average), ``raw`` (last step) or ``untrained`` (random; a floor for metrics).
            device: Torch device name.
            text_encoder: Directory or hf-hub:OWNER/NAME of the text encoder, if no longer at ``text_encoder.model``.
            sample: Settings of generation and network calls, such as ``Sample(precision="bfloat16")``; None uses
                those of the training config.

        Raises:
            CheckpointError: ``path`` is not a checkpoint (suggests one nearby), is damaged, incomplete or of another
                version, or was trained with another text encoder than the one found.
            ConfigError: ``weights`` is unknown, or the text encoder is missing.
            BackendError: this machine lacks the device, a package or the text encoder.
        """
        require_device(device)
        checkpoint = LoadedCheckpoint(path, weights)
        metadata, digest = checkpoint.metadata, checkpoint.sha256
        return cls(
            checkpoint.network.requires_grad_(False).to(device),
            checkpoint.load_autoencoder(device),
            checkpoint.load_text_encoder(device, text_encoder),
            checkpoint.bank,
            metadata.space,
            metadata.config if sample is None else metadata.config.model_copy(update={"sample": sample}),
            metadata.class_names,
            digest,
            metadata.origins,
        )

    def generate(
        self,
        label: int | str,
        caption: str | None = None,
        *,
        seed: int = 0,
        n: int = 1,
        settings: SamplingSettings | None = None,
    ) -> list[GeneratedImage]:
        """Generate n images of a class, with seeds ``seed``, ``seed + 1``, ...

        Args:
            label: Class name or index.
            caption: Caption; None draws one from the class's prompt bank for each image, by its seed.
            seed: Seed of the noise and of the drawn caption; the same seed gives the same image.
            n: Number of images.
            settings: Sampling settings; None for those of ``config.sample``.

        Raises:
            ConfigError: label, seed, n or caption is invalid; lists all problems.
            DataError: the text encoder cannot encode the caption.
        """
        validate_request(label, caption, seed, n, self.class_names)
        number = label_index(label, self.class_names)
        assert number is not None
        seeds = [int(seed) + i for i in range(n)]
        if caption is None:
            drawn = [self.bank.draw(number, one)[0] for one in seeds]
            captions, sources = [entry.caption for entry in drawn], [entry.image_id for entry in drawn]
        else:
            captions, sources = [caption] * n, [""] * n
        return self.make([number] * n, captions, sources, seeds, settings or SamplingSettings.from_config(self.config))

    def make(
        self,
        labels: Sequence[int],
        captions: Sequence[str],
        source_image_ids: Sequence[str],
        seeds: Sequence[int],
        settings: SamplingSettings,
    ) -> list[GeneratedImage]:
        """Generate one image for each (label, caption, seed); they share network calls with concurrent requests.

        Thread-safe.
        """
        requests = self.requests(labels, captions, seeds, settings)
        pixels = render(self.engine_for(settings.prototypes), requests, self.autoencoder, self.space)
        return [
            self.generated(*each, settings)
            for each in zip(pixels, labels, captions, source_image_ids, seeds, strict=True)
        ]

    def engine_for(self, prototypes: Prototypes) -> SamplingEngine:
        """Get the engine of the complete network, or of the network with bypassed prototype condition.

        Raises:
            ConfigError: the network has no prototypes to bypass.
        """
        return self.engine if prototypes == "on" else self._bypassed_engine

    @cached_property
    def _bypassed_engine(self) -> SamplingEngine:
        if not isinstance(self.network, UViT) or not self.has_prototypes:
            raise ConfigError("prototypes = bypassed: this model was trained without prototypes. Accepted: on.")
        return build_engine(without_prototypes(self.network), self.config, self.space)

    @property
    def has_prototypes(self) -> bool:
        """True if the network has a prototype condition, which can be bypassed."""
        return getattr(self.network, "prototypes", None) is not None

    def generated(
        self,
        pixels: NDArray[np.uint8],
        label: int,
        caption: str,
        source_image_id: str,
        seed: int,
        settings: SamplingSettings,
    ) -> GeneratedImage:
        """Combine an image uint8 [H, W, 3] with everything needed to reproduce it."""
        return GeneratedImage(
            pixels,
            label,
            self.class_names[label],
            caption,
            source_image_id,
            seed,
            self.model_sha256,
            settings,
            self.config.sample.precision,
            self.origins,
        )

    def requests(
        self, labels: Sequence[int], captions: Sequence[str], seeds: Sequence[int], settings: SamplingSettings
    ) -> list[ImageRequest]:
        """Build the engine's requests for images; encodes the captions.

        Raises:
            DataError: the text encoder cannot encode a caption.
        """
        return [
            ImageRequest(seed, label, context, settings.num_inference_steps, settings.solver, settings.guidance)
            for seed, label, context in zip(seeds, labels, self._contexts(captions), strict=True)
        ]

    def _contexts(self, captions: Sequence[str]) -> list[Tensor]:
        """Encode captions to contexts [L, D]; [0, 0] for a network conditioned on classes only."""
        if not self.network.max_context:
            return [torch.zeros(0, 0)] * len(captions)
        return [torch.from_numpy(context.astype(np.float32)) for context in self.encoder.encode(captions)]
