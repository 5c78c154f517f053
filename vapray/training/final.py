"""Final checkpoint of training, with the inputs of sampling and export only."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from vapray.bank.factory import build_text_encoder
from vapray.bank.prompt_bank import PromptBank
from vapray.config import Config
from vapray.data.origins import OriginSummary
from vapray.latents.latent_space import LatentSpace
from vapray.models.alignment import without_alignment
from vapray.store.checkpoint import SCHEMA

__all__ = ["final_checkpoint", "final_notes"]


def final_checkpoint(
    config: Config,
    state: Mapping[str, bytes],
    bank: PromptBank,
    autoencoder: Mapping[str, bytes],
    space: LatentSpace,
    class_names: Sequence[str],
    origins: OriginSummary,
    untrusted: Mapping[str, str],
) -> dict[str, bytes]:
    """Build the files of ``files/final``.

    Args:
        config: configuration of the run.
        state: files of the last training state, by name.
        bank: captions of the train split.
        autoencoder: files of the autoencoder, by name.
        space: latent space.
        class_names: class names in label order.
        origins: origins of the training images.
        untrusted: reason of each attribute that ``caption.trust=audited`` left out of the captions.

    Returns:
        File name -> content.
    """
    encoder = build_text_encoder(config.text_encoder)
    card = {
        "schema": SCHEMA,
        "class_names": list(class_names),
        "origins": origins.to_record(),
        "untrusted": dict(untrusted),
        "latent_space": space.to_record(),
        "text_encoder": encoder.id,
        "context_width": encoder.width,
        "config": config.model_dump(mode="json"),
        "steps": config.train.steps,
        **final_notes(state),
    }
    kept = bytes if config.alignment.kind == "none" else _without_alignment
    table = io.BytesIO()
    pq.write_table(bank.to_table(), table)
    return {
        "checkpoint.json": json.dumps(card, indent=1, sort_keys=True).encode(),
        "ema.safetensors": kept(state["best.safetensors" if "best.safetensors" in state else "ema.safetensors"]),
        "raw.safetensors": kept(state["raw.safetensors"]),
        "bank.parquet": table.getvalue(),
        **{f"autoencoder/{name}": data for name, data in autoencoder.items()},
    }


def _without_alignment(weights: bytes) -> bytes:
    return save_safetensors(without_alignment(load_safetensors(weights)))


def final_notes(state: Mapping[str, bytes]) -> dict[str, Any]:
    """Collect the notes of training: curve, validations, step of the kept EMA weights, number of skipped steps."""
    card = json.loads(state["state.json"])
    validations = card["validations"]
    return {
        "curve": card["curve"],
        "validations": validations,
        "ema_step": min(validations, key=lambda pair: pair[1])[0] if validations else card["step"],
        "skipped_steps": card["skipped"],
    }
