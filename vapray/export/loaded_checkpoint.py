"""Checkpoint that is verified completely before an export writes anything."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vapray.bank.prompt_bank import PromptBank
from vapray.bank.text_encoder import TextEncoder
from vapray.latents.autoencoder import load_autoencoder
from vapray.sampling.checkpoint_loading import (
    CheckpointMetadata,
    load_network_weights,
    load_text_encoder,
    read_bank,
    read_verified_files,
)
from vapray.store.checkpoint import as_temporary_folder
from vapray.training.network import Network, build_network

__all__ = ["LoadedCheckpoint", "open_checkpoint"]


@dataclass(frozen=True)
class LoadedCheckpoint:
    """Verified checkpoint, and the options of its export."""

    card: CheckpointMetadata
    """Parsed checkpoint.json."""
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
        """Whether the network is conditioned on captions."""
        return self.text_encoder is not None


def open_checkpoint(
    path: str, *, weights: str = "ema", with_bank: bool = True, with_text_encoder: bool = False
) -> LoadedCheckpoint:
    """Read a checkpoint and verify all of it.

    Raises:
        CheckpointError: as for ``Sampler.load``.
        ConfigError: the text encoder is not where it was in training.
        BackendError: the text encoder, or a package that it needs, is not available.
    """
    contents = read_verified_files(path, weights)
    card = CheckpointMetadata.parse(contents["checkpoint.json"], f"{path}/checkpoint.json")
    network = build_network(
        card.config,
        num_classes=len(card.class_names),
        latent_channels=card.space.channels,
        context_width=card.context_width,
    )
    data = contents[f"{weights}.safetensors"]
    load_network_weights(network, data, f"{path}/{weights}.safetensors")
    takes_captions = network.max_context > 0
    return LoadedCheckpoint(
        card=card,
        weights=weights,
        notes=json.loads(contents["checkpoint.json"]),
        network=network,
        sha256=hashlib.sha256(data).hexdigest(),
        autoencoder=_autoencoder(contents),
        bank=read_bank(contents["bank.parquet"], f"{path}/bank.parquet"),
        with_bank=with_bank and takes_captions,
        text_encoder=load_text_encoder(card, None, "cpu", f"{path}/checkpoint.json") if takes_captions else None,
        with_text_encoder=with_text_encoder and takes_captions and card.config.text_encoder.encoder != "hashing",
    )


def _autoencoder(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files of the autoencoder, after it was loaded once."""
    files = {name: data for name, data in contents.items() if name.startswith("autoencoder/")}
    with as_temporary_folder(files) as folder:
        load_autoencoder(folder / "autoencoder")
    return {name.removeprefix("autoencoder/"): data for name, data in files.items()}
