"""A diffusers pipeline of a VAP-Diffusion model. Not for clinical use.

pipe = DiffusionPipeline.from_pretrained(FOLDER, trust_remote_code=True)
image = pipe("MEL", seed=7).images[0]
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vapray.diffusion.guidance import Guidance
from vapray.diffusion.image_request import ImageRequest
from vapray.errors import ConfigError
from vapray.export.settings_tree import settings_tree
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.kl_autoencoder import KlAutoencoder
from vapray.latents.latent_space import LatentSpace
from vapray.latents.pixel_space import PixelSpace
from vapray.sampling.provenance import encode_png
from vapray.sampling.rendering import build_engine, render
from vapray.sampling.request import label_index, validate_request

__all__ = ["VapDiffusionOutput", "VapDiffusionPipeline"]


@dataclass
class VapDiffusionOutput(BaseOutput):
    """Synthetic images, and how each was made."""

    images: Any
    """Pillow images, or float [n, H, W, 3] in 0..1 for ``output_type="np"``."""
    provenance: list[dict[str, str]]
    """Of each: class, caption, seed, sha256 of the weights, settings."""

    def to_png(self, index: int = 0) -> bytes:
        """One of the images as PNG, with its provenance in text chunks."""
        pixels = np.asarray(self.images[index])
        if pixels.dtype != np.uint8:
            pixels = (pixels * 255).round().astype(np.uint8)
        return encode_png(pixels, self.provenance[index])


# Pipelines get their attributes from their components.
Untyped: Any = DiffusionPipeline


class VapDiffusionPipeline(Untyped):
    """Images of a class, by a caption. Not for clinical use.

    Args:
        denoiser: predicts noise.
        vae: decodes latents; None where pixels were diffused.
        prompt_bank: captions by class; None where the export has none.
        text_encoder: captions to tokens; None for a network that sees the class alone.
        model: facts of the model: classes, latent space, settings of engine and sampling.
        text_model: a folder or hf-hub:OWNER/NAME of the text encoder's files, where they are not in the export.
    """

    _optional_components = ["vae", "prompt_bank", "text_encoder"]  # noqa: RUF012

    def __init__(
        self, denoiser: Any, vae: Any, prompt_bank: Any, text_encoder: Any, model: Any = None, text_model: Any = None
    ) -> None:
        super().__init__()
        self.register_modules(denoiser=denoiser, vae=vae, prompt_bank=prompt_bank, text_encoder=text_encoder)
        self.register_to_config(model=model)
        if text_model is not None and text_encoder is None:
            raise ConfigError(f"text_model = {text_model!r}: this model sees the class alone, and encodes no text.")
        if text_model is not None:
            text_encoder.move(text_model)

    # Those of a bundle are texts, which diffusers 0.35 takes for types.
    __init__.__annotations__.clear()

    @torch.no_grad()
    def __call__(
        self,
        label: int | str,
        caption: str | None = None,
        *,
        seed: int = 0,
        n: int = 1,
        prompt_embeds: Tensor | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_convention: str | None = None,
        guidance_interval: tuple[int, int] | None = None,
        solver: str | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> Any:
        """Make n images of a class, with seeds ``seed``, ``seed + 1``, ...

        Args:
            label: class name or number.
            caption: text; None draws one from the class's prompt bank for each image, by its seed.
            seed: decides noise and drawn caption; the same seed gives the same image.
            n: how many.
            prompt_embeds: the caption's tokens, float [L, D], in its stead.
            num_inference_steps: solver steps; this and what follows is None for the model's own.
            guidance_scale: read by ``guidance_convention``.
            guidance_convention: excess, c + s (c - u), 0 is none; classifier_free, u + s (c - u), 1 is none.
            guidance_interval: first and last diffusion step with guidance.
            solver: dpm_solver_2m or ddim.
            output_type: pil, or np for float [n, H, W, 3] in 0..1.
            return_dict: False for the tuple (images,).

        Raises:
            ConfigError: an unknown class, or an argument of another kind; no caption where there is no bank.
            DataError: a caption that the text encoder cannot take.
            ValueError: settings that the network or the solver cannot take.
        """
        names = self.config.model["class_names"]
        validate_request(label, caption, seed, n, names)
        if output_type not in ("pil", "np"):
            raise ConfigError(f"output_type = {output_type!r}: wanted pil or np.")
        if caption is not None and prompt_embeds is not None:
            raise ConfigError("caption and prompt_embeds: wanted one of them, since tokens stand for a caption.")
        settings = self._settings(
            solver=solver,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_convention=guidance_convention,
            guidance_interval=guidance_interval,
        )
        number = label_index(label, names)
        assert number is not None
        seeds = [int(seed) + i for i in range(n)]
        captions = self._captions(number, caption, seeds, prompt_embeds)
        contexts = [prompt_embeds] * n if prompt_embeds is not None else self._contexts(captions)
        pixels = self._make(number, contexts, seeds, settings)
        images: Any = [Image.fromarray(one) for one in pixels] if output_type == "pil" else pixels / np.float32(255)
        if not return_dict:
            return (images,)
        facts = zip(captions, seeds, strict=True)
        return VapDiffusionOutput(images, [self._provenance(names[number], *fact, settings) for fact in facts])

    def _settings(self, **given: Any) -> dict[str, Any]:
        """The model's own, but for what is given."""
        return {**self.config.model["sampling"], **{key: value for key, value in given.items() if value is not None}}

    def save_pretrained(self, *_: Any, **__: Any) -> None:
        """Refuse: diffusers would leave out the code, the captions and the text encoder."""
        raise ConfigError(f"save_pretrained would lose code and captions. Copy the folder: {self.name_or_path}.")

    def _captions(self, number: int, caption: str | None, seeds: list[int], prompt_embeds: Tensor | None) -> list[str]:
        """One for each seed; empty ones where none is needed."""
        if caption is not None:
            return [caption] * len(seeds)
        if prompt_embeds is not None or not self.denoiser.max_context:
            return [""] * len(seeds)
        if self.prompt_bank is None:
            raise ConfigError("caption = None: this export has no prompt bank to draw one from. Give a caption.")
        return [self.prompt_bank.draw(number, seed)[0].caption for seed in seeds]

    def _contexts(self, captions: list[str]) -> list[Tensor]:
        if not self.denoiser.max_context:
            return [torch.zeros(0, 0)] * len(captions)
        return [torch.from_numpy(context.astype(np.float32)) for context in self.text_encoder.encoder.encode(captions)]

    def _make(
        self, number: int, contexts: list[Tensor], seeds: list[int], settings: dict[str, Any]
    ) -> NDArray[np.uint8]:
        model = self.config.model
        space = LatentSpace.from_record(model["latent_space"])
        engine = build_engine(self.denoiser.eval(), settings_tree(model["settings"]), space)
        interval = settings["guidance_interval"]
        guidance = Guidance.from_scale(
            settings["guidance_scale"], settings["guidance_convention"], tuple(interval) if interval else None
        )
        with self.progress_bar(total=len(seeds) * settings["num_inference_steps"]) as bar:
            requests = [
                ImageRequest(
                    seed,
                    number,
                    context,
                    settings["num_inference_steps"],
                    settings["solver"],
                    guidance,
                    preview=lambda _: bar.update(),
                )
                for seed, context in zip(seeds, contexts, strict=True)
            ]
            return render(engine, requests, self._autoencoder(), space)

    @property
    def _precision(self) -> str:
        precision: str = settings_tree(self.config.model["settings"]).sample.precision
        return precision

    def _autoencoder(self) -> Autoencoder:
        if self.vae is None:
            return PixelSpace()
        if isinstance(self.vae, AutoencoderKL):
            return KlAutoencoder(self.vae)
        autoencoder: Autoencoder = self.vae.autoencoder
        return autoencoder

    def _provenance(self, class_name: str, caption: str, seed: int, settings: dict[str, Any]) -> dict[str, str]:
        return {
            "Class": class_name,
            "Caption": caption,
            "Seed": str(seed),
            "Model-SHA256": self.config.model["sha256"],
            "Settings": json.dumps({**settings, "precision": self._precision}, sort_keys=True),
        }
