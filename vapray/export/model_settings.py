"""Settings that the exported code reads: the fields of ``model/config.json``."""

from typing import Any

from vapray import __version__
from vapray.bank.hashing_encoder import FUNCTION_WORDS
from vapray.bank.transformer_encoder import PortableTower
from vapray.export.export_source import ExportSource
from vapray.export.vap_diffusion import tower_sha256
from vapray.sampling.generated import SamplingSettings

__all__ = ["model_settings"]

MODEL_FIELDS = ("network", "depth", "num_heads", "patch_size", "rope")
DIFFUSION_FIELDS = ("path", "schedule", "prediction")
SAMPLE_FIELDS = ("batch_sizes", "split_unconditional", "precision")


def model_settings(opened: ExportSource, tower: PortableTower | None) -> dict[str, Any]:
    """All fields except ``weight_shapes``, which follows from the weights."""
    card, config = opened.card, opened.card.config
    return {
        **{name: getattr(config.model, name) for name in MODEL_FIELDS},
        "condition_after": config.model.prototypes.after,
        "class_names": card.class_names,
        "max_context": opened.network.max_context,
        "context_width": opened.network.context_width,
        "latent_shape": [card.space.channels, card.space.side, card.space.side],
        **{name: getattr(config.diffusion, name) for name in DIFFUSION_FIELDS},
        "diffusion_steps": config.diffusion.steps,
        **{name: getattr(config.sample, name) for name in SAMPLE_FIELDS},
        "sampling": SamplingSettings.from_config(config).__dict__,
        "text": _text_settings(opened, tower),
        "weights_sha256": opened.sha256,
        "origins": opened.origins.text_chunks,
        "vapray": __version__,
    }


def _text_settings(opened: ExportSource, tower: PortableTower | None) -> dict[str, Any]:
    """Settings of the text encoder; none for a network that is conditioned on the class alone."""
    bank = opened.card.config.text_encoder
    if opened.text_encoder is None:
        return {}
    if tower is None:
        return {"encoder": bank.encoder, "function_words": sorted(FUNCTION_WORDS)}
    return {
        "encoder": bank.encoder,
        "full": bank.context_length == "full",
        "skip": tower.skip,
        "sha256": tower_sha256(tower.network, tower.tokenizer),
    }
