"""Opening a checkpoint for export: all of it is verified before anything is written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vapray.bank.prompt_bank import PromptBank
from vapray.bank.tower_files import find_tower
from vapray.export.settings_read import noting
from vapray.sampling import checkpoint_loading
from vapray.sampling.checkpoint_loading import CheckpointMetadata
from vapray.training.network import Network, build_network

__all__ = ["LoadedCheckpoint", "open_checkpoint"]


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint that was found to be whole."""

    card: CheckpointMetadata
    """What it says of itself."""
    weights: str
    """ema or raw."""
    notes: Mapping[str, Any]
    """checkpoint.json."""
    network: Network
    """With its weights."""
    network_settings: Mapping[str, Any]
    """What of the config decides its architecture."""
    sha256: str
    """Of the weights' file."""
    autoencoder: Mapping[str, bytes]
    """Its files, by name."""
    bank: PromptBank
    """Captions of the train split."""
    with_bank: bool
    """Whether they go along."""
    text_files: Mapping[str, bytes]
    """The text encoder's, by name, where they go along."""

    @property
    def takes_captions(self) -> bool:
        """Whether captions reach the network."""
        return self.network.max_context > 0


def open_checkpoint(
    path: str, *, weights: str = "ema", with_bank: bool = True, with_text_encoder: bool = False
) -> LoadedCheckpoint:
    """Read a checkpoint and verify all of it.

    Raises:
        CheckpointError: as of ``Sampler.load``; the text encoder is looked at only where it goes along.
        ConfigError: its files shall go along, and are not where they were in training.
        BackendError: likewise; or its packages are not installed.
    """
    checkpoint = checkpoint_loading.LoadedCheckpoint(path, weights)
    card = checkpoint.metadata
    settings: dict[str, Any] = {}
    build_network(
        noting(card.config, settings),
        num_classes=len(card.class_names),
        latent_channels=card.space.channels,
        context_width=card.context_width,
    )
    network = checkpoint.network
    checkpoint.load_autoencoder()
    return LoadedCheckpoint(
        card=card,
        weights=weights,
        notes=json.loads(checkpoint.record),
        network=network,
        network_settings=settings,
        sha256=checkpoint.sha256,
        autoencoder=checkpoint.autoencoder_files,
        bank=checkpoint.bank,
        with_bank=with_bank and network.max_context > 0,
        text_files=_text_files(checkpoint) if with_text_encoder and network.max_context else {},
    )


def _text_files(checkpoint: checkpoint_loading.LoadedCheckpoint) -> dict[str, bytes]:
    """Those of a text tower, which is the one that the model was trained with; none of an encoder that is code."""
    if checkpoint.metadata.config.bank.encoder == "hashing":
        return {}
    checkpoint.load_text_encoder()
    tower = find_tower(checkpoint.metadata.config.bank)
    return {file.name: file.read_bytes() for file in [*tower.indices, *tower.deciding]}
