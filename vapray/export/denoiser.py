"""The noise-predicting network as a component of a diffusers pipeline."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from vapray.errors import CheckpointError
from vapray.export.checksums import refuse_changed_files
from vapray.export.settings_tree import settings_tree
from vapray.models.prediction import NoisePrediction
from vapray.training.network import build_network

__all__ = ["VapDenoiser"]


class VapDenoiser(ModelMixin, ConfigMixin):
    """The network of a checkpoint: U-ViT, DiT or U-Net.

    Args:
        settings: what building the network reads of the config it was trained with.
        num_classes: without the null class.
        latent_channels: C.
        context_width: of the text encoder's tokens.
    """

    @register_to_config
    def __init__(self, settings: Any, num_classes: int, latent_channels: int, context_width: int) -> None:
        super().__init__()
        network = build_network(
            settings_tree(settings),
            num_classes=num_classes,
            latent_channels=latent_channels,
            context_width=context_width,
        )
        self.network = network
        self.num_classes, self.context_width, self.max_context = (
            network.num_classes,
            network.context_width,
            network.max_context,
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **options: Any) -> Any:
        """As of diffusers, which would draw missing weights at random.

        Raises:
            CheckpointError: a file of the pipeline was changed after the export, or weights are of another network.
        """
        refuse_changed_files(Path(pretrained_model_name_or_path).parent)
        wanted = {**options, "output_loading_info": True}
        model, loaded = super().from_pretrained(pretrained_model_name_or_path, **wanted)
        if wrong := [*loaded["missing_keys"], *loaded["mismatched_keys"], *loaded["unexpected_keys"]]:
            what = f"{len(wrong)} weights missing, unknown or of another shape ({wrong[0]}, ...)"
            raise CheckpointError(f"{pretrained_model_name_or_path}: not the weights of its config.json: {what}.")
        return (model, loaded) if options.get("output_loading_info") else model

    def forward(self, noisy_BCHW: Tensor, *conditions: Tensor, reconstruct: bool = False) -> NoisePrediction:
        """The noise in latents, float32 whatever the weights are; arguments as of ``UViT.forward``."""
        inputs = [given.to(self.dtype) if given.is_floating_point() else given for given in (noisy_BCHW, *conditions)]
        prediction = self.network(*inputs, reconstruct=reconstruct)
        return replace(prediction, noise_BCHW=prediction.noise_BCHW.float())
