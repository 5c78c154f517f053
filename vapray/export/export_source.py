"""Checkpoint that is verified completely before an export writes anything."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vapray.bank.prompt_bank import PromptBank
from vapray.bank.text_encoder import TextEncoder
from vapray.data.origins import OriginSummary
from vapray.sampling.checkpoint_loading import CheckpointMetadata, LoadedCheckpoint
from vapray.store.checkpoint import split_checkpoint_path, training_images
from vapray.store.run_store import Store
from vapray.training.network import Network

__all__ = ["ExportSource", "open_checkpoint"]


@dataclass(frozen=True)
class ExportSource:
    """Verified checkpoint, and the options of its export."""

    card: CheckpointMetadata
    """Parsed checkpoint.json."""
    origins: OriginSummary
    """Origins of the training images: as ingested last in the run of the checkpoint, else as recorded in training."""
    weights: str
    """ema or raw."""
    notes: Mapping[str, Any]
    """checkpoint.json."""
    network: Network
    """Network with its weights."""
    sha256: str
    """Digest of the weights file."""
    autoencoder: Mapping[str, bytes]
    """Files of the autoencoder, by name."""
    bank: PromptBank
    """Captions of the train split."""
    with_bank: bool
    """Export the captions."""
    text_encoder: TextEncoder | None
    """Text encoder of the training; None for a network that is conditioned on the class alone."""
    with_text_encoder: bool
    """Export the files of the text encoder; false for the hashing encoder, which has none."""

    @property
    def takes_captions(self) -> bool:
        """True if the network is conditioned on captions."""
        return self.text_encoder is not None


def open_checkpoint(
    path: str, *, weights: str = "ema", with_bank: bool = True, with_text_encoder: bool = False
) -> ExportSource:
    """Read a checkpoint and verify all of it.

    Raises:
        CheckpointError: as for ``Sampler.load``.
        ConfigError: the text encoder is not where it was in training.
        BackendError: the text encoder, or a package that it needs, is not available.
    """
    checkpoint = LoadedCheckpoint(path, weights)
    card, network = checkpoint.metadata, checkpoint.network
    checkpoint.load_autoencoder()
    takes_captions = network.max_context > 0
    return ExportSource(
        card=card,
        origins=_origins_in_run(path) or card.origins,
        weights=weights,
        notes=json.loads(checkpoint.record),
        network=network,
        sha256=checkpoint.sha256,
        autoencoder=checkpoint.autoencoder_files,
        bank=checkpoint.bank,
        with_bank=with_bank and takes_captions,
        text_encoder=checkpoint.load_text_encoder() if takes_captions else None,
        with_text_encoder=with_text_encoder and takes_captions and card.config.text_encoder.encoder != "hashing",
    )


def _origins_in_run(checkpoint: str) -> OriginSummary | None:
    root, fingerprint = split_checkpoint_path(checkpoint)
    images = training_images(Store(root), fingerprint) if root else None
    record = images.require_manifest().notes.get("origins") if images else None
    return OriginSummary.from_record(record) if record else None
