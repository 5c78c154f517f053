"""Checkpoint of a trained model: its parts are read and verified on first use."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Self, get_args

import pyarrow as pa
import torch
from pydantic import ValidationError

from vapray.bank.factory import build_text_encoder
from vapray.bank.prompt_bank import PromptBank
from vapray.bank.text_encoder import TextEncoder
from vapray.config import Config
from vapray.config.renamed_keys import rename_settings
from vapray.config.validation_errors import from_pydantic
from vapray.data.origins import OriginSummary
from vapray.errors import BackendError, CheckpointError, ConfigError, DataError
from vapray.latents.autoencoder import Autoencoder, load_autoencoder
from vapray.latents.latent_space import LatentSpace
from vapray.models.precision import keep_float32_exact
from vapray.sampling.checkpoint_folder import open_checkpoint_folder
from vapray.sampling.network_weights import UPDATE_ADVICE, load_network_weights
from vapray.store.checkpoint import SCHEMA, as_temporary_folder, file_digests, read_verified
from vapray.store.parquet import read_table
from vapray.training.network import Network, build_network
from vapray.training.state import save_weights

__all__ = ["CheckpointMetadata", "LoadedCheckpoint", "Weights", "load_text_encoder", "read_metadata", "require_device"]

Weights = Literal["ema", "raw", "untrained"]


@dataclass(frozen=True)
class CheckpointMetadata:
    """Metadata of a checkpoint, from its checkpoint.json."""

    config: Config
    space: LatentSpace
    class_names: tuple[str, ...]
    text_encoder: str
    context_width: int
    origins: OriginSummary = field(default_factory=OriginSummary)
    untrusted: Mapping[str, str] = field(default_factory=dict)
    """Reason of each attribute that ``caption.trust=audited`` left out of the captions."""

    @classmethod
    def parse(cls, data: bytes, where: str) -> Self:
        """Parse checkpoint.json.

        Args:
            data: Contents of the file.
            where: Path of the file, for errors.

        Raises:
            CheckpointError: a newer version wrote it, or keys are missing or unknown; names all of them.
        """
        try:
            card: dict[str, Any] = dict(json.loads(data))
            _refuse_newer(card, where)
            card["config"] = rename_settings(card["config"], source=where, warn=lambda _: None)
            return cls(
                Config.model_validate(card["config"]),
                LatentSpace.from_record(card["latent_space"]),
                tuple(card["class_names"]),
                str(card["text_encoder"]),
                int(card["context_width"]),
                OriginSummary.from_record(card.get("origins")),
                dict(card.get("untrusted", {})),
            )
        except ValidationError as error:
            problems = from_pydantic(error.errors(), Config, card["config"])
            texts = [f"{where}: config: {problem.text}" for problem in problems]
            raise CheckpointError("\n  ".join([*texts, UPDATE_ADVICE])) from None
        except KeyError as error:
            raise CheckpointError(f"{where}: no {error}. {UPDATE_ADVICE}") from None
        except (TypeError, ValueError, ConfigError, DataError) as error:
            raise CheckpointError(f"{where}: {error}. {UPDATE_ADVICE}") from None


def _refuse_newer(card: Mapping[str, Any], where: str) -> None:
    schema = card.get("schema", 1)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise CheckpointError(
            f"{where}: schema {schema} was written by a newer vapray; this one reads up to {SCHEMA}. Fix: update it."
        )


class LoadedCheckpoint:
    """Checkpoint in a ``final`` folder; each part is read and verified on first use.

    Every part raises CheckpointError if its files are missing, damaged or of another version.

    Args:
        path: Local path or URI of the folder.
        weights: ``ema`` (moving average), ``raw`` (last step) or ``untrained`` (random; a floor for metrics).

    Raises:
        CheckpointError: ``path`` is no such folder (suggests one nearby).
        ConfigError: ``weights`` is unknown.
    """

    def __init__(self, path: str, weights: str = "ema") -> None:
        if weights not in get_args(Weights):
            raise ConfigError(f"weights = {weights!r}: unknown. Accepted: {', '.join(get_args(Weights))}.")
        self.path, self.weights = path, weights
        self._files = open_checkpoint_folder(path)

    @cached_property
    def record(self) -> bytes:
        """Contents of checkpoint.json."""
        return read_verified(self._files, "checkpoint.json", file_digests(self._files, "").get("checkpoint.json", ""))

    @cached_property
    def metadata(self) -> CheckpointMetadata:
        """Parsed checkpoint.json."""
        return CheckpointMetadata.parse(self.record, f"{self.path}/checkpoint.json")

    @cached_property
    def bank(self) -> PromptBank:
        """Prompt bank of the train split."""
        data = self._read("bank.parquet")
        try:
            return PromptBank.from_table(read_table(io.BytesIO(data)))
        except (pa.ArrowException, DataError) as error:
            message = str(error).splitlines()[0]
            raise CheckpointError(f"{self.path}/bank.parquet: {message}. {UPDATE_ADVICE}") from None

    @cached_property
    def network(self) -> Network:
        """Network with its weights, on the CPU."""
        network = build_network(
            self.metadata.config,
            num_classes=len(self.metadata.class_names),
            latent_channels=self.metadata.space.channels,
            context_width=self.metadata.context_width,
        )
        if self.weights != "untrained":
            load_network_weights(network, self._read(self._weights_file), f"{self.path}/{self._weights_file}")
        return network

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        if self.weights == "untrained":
            return hashlib.sha256(save_weights(self.network)).hexdigest()
        return self._digests[self._weights_file]

    @cached_property
    def autoencoder_files(self) -> dict[str, bytes]:
        """Files of the autoencoder, by name."""
        names = (name for name in self._digests if name.startswith("autoencoder/"))
        return {name.removeprefix("autoencoder/"): self._read(name) for name in names}

    def load_autoencoder(self, device: str = "cpu") -> Autoencoder:
        """Load the autoencoder."""
        with as_temporary_folder(self.autoencoder_files) as folder:
            return load_autoencoder(folder, device)

    def load_text_encoder(self, device: str = "cpu", model: str | None = None) -> TextEncoder:
        """Load the text encoder of the training; errors as in :func:`load_text_encoder`."""
        return load_text_encoder(self.metadata, model, device, f"{self.path}/checkpoint.json")

    @property
    def _weights_file(self) -> str:
        return f"{self.weights}.safetensors"

    def _read(self, name: str) -> bytes:
        return read_verified(self._files, name, self._digests[name])

    @cached_property
    def _digests(self) -> dict[str, str]:
        """sha256 of each file, after a check that no required file is missing."""
        digests = file_digests(self._files, "")
        weights = [] if self.weights == "untrained" else [self._weights_file]
        required = ["checkpoint.json", "bank.parquet", "autoencoder/config.json", *weights]
        if missing := [name for name in required if name not in digests]:
            others = [kind for kind in ("ema", "raw") if f"{kind}.safetensors" in digests]
            instead = f" Its weights are {' and '.join(others)}: load with weights={others[0]!r}." if others else ""
            raise CheckpointError(f"{self.path}: {', '.join(missing)} missing.{instead if missing == weights else ''}")
        return digests


def read_metadata(path: str) -> CheckpointMetadata:
    """Read the metadata of a checkpoint's ``final`` folder, without its weights.

    Raises:
        CheckpointError: ``path`` is no such folder (suggests one nearby), is damaged, or of a newer version.
    """
    return LoadedCheckpoint(path).metadata


def load_text_encoder(card: CheckpointMetadata, model: str | None, device: str, where: str) -> TextEncoder:
    """Load the text encoder that the weights were trained with.

    Args:
        card: Metadata of the checkpoint.
        model: Directory or hub name, as in ``text_encoder.model``, if it differs from training; else None.
        device: Torch device name.
        where: Path of checkpoint.json, for errors.

    Raises:
        CheckpointError: the encoder found is another one.
        ConfigError: there is no encoder.
        BackendError: the encoder is not available on this machine.
    """
    moved = {"model": model, "revision": None} if model else {}
    settings = card.config.text_encoder.model_copy(update=moved)
    encoder = build_text_encoder(settings, device)
    if encoder.id != card.text_encoder:
        raise CheckpointError(
            f"{where}: trained with the text encoder {card.text_encoder}; {settings.model or 'this vapray'} is "
            f"{encoder.id}. Fix: load with text_encoder=DIRECTORY of the encoder used in training."
        )
    return encoder


def require_device(device: str) -> None:
    """Check that this machine has a device, before any file is read; on a GPU float32 is then float32.

    Raises:
        BackendError: the device is missing; names the available ones.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        have = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise BackendError(f"device {device!r} is not on this machine. Accepted: {', '.join(have)}.") from None
    keep_float32_exact()
