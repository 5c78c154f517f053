"""Checkpoint loading: find the folder, check its version, and report settings that contradict the weights."""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import ValidationError
from safetensors.torch import load as load_safetensors

from vapray.bank.factory import build_text_encoder
from vapray.bank.prompt_bank import PromptBank
from vapray.bank.text_encoder import TextEncoder
from vapray.config import Config
from vapray.config.renamed_keys import rename_settings
from vapray.config.validation_errors import from_pydantic_error
from vapray.errors import BackendError, CheckpointError, ConfigError, DataError
from vapray.latents.latent_space import LatentSpace
from vapray.store.checkpoint import SCHEMA, read_checkpoint, read_file
from vapray.store.files import FileStore
from vapray.training.network import Network
from vapray.training.state import load_weights

__all__ = [
    "CheckpointMetadata",
    "load_network_weights",
    "load_text_encoder",
    "read_bank",
    "read_metadata",
    "read_verified_files",
    "require_device",
]

PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")
NEVER_OPENED = "a pickle, and those are never opened: loading one runs the code in it"


def read_verified_files(path: str, weights: str) -> dict[str, bytes]:
    """Read and verify the files of a checkpoint's ``final`` folder.

    Raises:
        CheckpointError: ``path`` is no such folder (suggests one nearby), is damaged, or lacks a required file.
    """
    contents = read_checkpoint(_open_final(path), "")
    needed = ["checkpoint.json", "bank.parquet", "autoencoder/config.json"]
    missing = [name for name in [*needed, *_weights_file(weights)] if name not in contents]
    if missing:
        others = [kind for kind in ("ema", "raw") if f"{kind}.safetensors" in contents]
        instead = f" Its weights are {' and '.join(others)}: load with weights={others[0]!r}." if others else ""
        raise CheckpointError(
            f"{path}: {', '.join(missing)} missing.{instead if missing == _weights_file(weights) else ''}"
        )
    return contents


def _open_final(path: str) -> FileStore:
    """Open a ``final`` folder; checks that checkpoint.json and manifest.json exist."""
    if os.path.isfile(path):
        what = f"{NEVER_OPENED}." if path.endswith(PICKLES) else "a file, not a folder."
        raise CheckpointError(f"{path}: {what} {_advice(FileStore(os.path.dirname(path) or '.'))}")
    files = FileStore(path)
    names = files.names("")
    absent = [name for name in ("checkpoint.json", "manifest.json") if name not in names]
    if absent:
        pickles = [name for name in names if name.endswith(PICKLES)]
        aside = f" {pickles[0]} is {NEVER_OPENED}." if pickles and "manifest.json" in absent else ""
        what = f"no complete checkpoint, it has no {' and no '.join(absent)}" if names else "no such folder"
        raise CheckpointError(f"{path}: {what}.{aside} {_advice(files)}")
    return files


def _weights_file(weights: str) -> list[str]:
    return [] if weights == "untrained" else [f"{weights}.safetensors"]


def _advice(files: FileStore) -> str:
    """Suggest the path of a checkpoint near a folder of a run or of a checkpoint."""
    base = files.path("").rstrip("/")
    above = [base.rsplit("/", steps)[0] for steps in (1, 2) if base.count("/") > steps]
    inside = ("", "*/files/", "files/", "checkpoints/*/files/", "*/checkpoints/*/files/")
    below = [f"{base}/{folders}" for folders in inside]
    places = [*(f"{folder}final" for folder in below), *above, *(f"{folder}/final" for folder in above)]
    found = [hit for place in places for hit in files.filesystem.glob(f"{place}/checkpoint.json")]
    folders = list(dict.fromkeys(str(hit).rsplit("/", 1)[0] for hit in found))
    if len(folders) == 1:
        return f"Did you mean {folders[0]}?"
    if folders:
        return f"Found: {', '.join(folders[:5])}."
    if any(files.filesystem.glob(f"{folder}steps/step-*/manifest.json") for folder in below):
        return "Its training is not finished. Fix: continue it by `python -m jobs.train` with its config."
    return "Fix: give RUN/checkpoints/FINGERPRINT/files/final, which `python -m jobs.train` writes."


@dataclass(frozen=True)
class CheckpointMetadata:
    """Metadata of a checkpoint, from its checkpoint.json."""

    config: Config
    space: LatentSpace
    class_names: tuple[str, ...]
    text_encoder: str
    context_width: int

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
            )
        except ValidationError as error:
            problems = [f"{where}: config: {problem.text}" for problem in from_pydantic_error(error, card["config"])]
            raise CheckpointError("\n  ".join([*problems, _UPDATE])) from None
        except KeyError as error:
            raise CheckpointError(f"{where}: no {error}. {_UPDATE}") from None
        except (TypeError, ValueError, ConfigError, DataError) as error:
            raise CheckpointError(f"{where}: {error}. {_UPDATE}") from None


def read_metadata(path: str) -> CheckpointMetadata:
    """Read the metadata of a checkpoint's ``final`` folder, without its weights.

    Raises:
        CheckpointError: ``path`` is no such folder (suggests one nearby), is damaged, or of a newer version.
    """
    return CheckpointMetadata.parse(read_file(_open_final(path), "", "checkpoint.json"), f"{path}/checkpoint.json")


_UPDATE = "Fix: use the version of vapray that wrote it, or train again."


def _refuse_newer(card: Mapping[str, Any], where: str) -> None:
    schema = card.get("schema", 1)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise CheckpointError(
            f"{where}: schema {schema} was written by a newer vapray; this one reads up to {SCHEMA}. Fix: update it."
        )


def load_network_weights(network: Network, data: bytes, where: str) -> None:
    """Load a safetensors file into the network that checkpoint.json describes.

    Args:
        network: Network to fill.
        data: Contents of the safetensors file.
        where: Path of the file, for errors.

    Raises:
        CheckpointError: damaged, or of another architecture; names the settings that differ, with both values.
    """
    try:
        load_weights(network, data)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {_differing_settings(network, data) or error} {_UPDATE}") from None


def _differing_settings(network: Network, data: bytes) -> str:
    try:
        found = _architecture({name: tuple(weight.shape) for name, weight in load_safetensors(data).items()})
        wanted = _architecture({name: tuple(weight.shape) for name, weight in network.state_dict().items()})
    except Exception:  # not weights of a vapray network: load_weights reports the mismatch
        return ""
    differing = [
        f"{key} is {value} in checkpoint.json and {found[key]} in the weights"
        for key, value in wanted.items()
        if key in found and value != found[key]
    ]
    return f"another architecture: {'; '.join(differing)}." if differing else ""


def _architecture(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int | str]:
    """Infer settings from the shapes of weights; for a baseline only its kind."""
    if baselines := [kind for kind, weight in _BASELINES.items() if weight in shapes]:
        return {"model.network": baselines[0]}
    channels, label_token = shapes["smooth.weight"][0], "label_embedding.weight" in shapes
    prototypes = shapes.get("prototypes.prototypes", (0, 0))
    rows = shapes["label_embedding.weight"] if label_token else prototypes
    settings: dict[str, int | str] = {
        "model.network": "uvit",
        "model.width": shapes["position"][1],
        "model.depth": 2 * len({name.split(".")[1] for name in shapes if name.startswith("in_blocks.")}),
        "model.patch_size": isqrt(shapes["patch_in.weight"][1] // channels),
        "model.label_token": str(label_token).lower(),
        "model.prototypes.per_class": prototypes[1],
        "latent_space.channels": channels,
        "context_width": shapes.get("text.project.weight", (0, 0))[1],
        "number of class_names": rows[0] - 1,
        "number of positions (text_encoder.max_tokens, patches)": shapes["position"][0] - label_token,
    }
    if prototypes[1]:
        settings["model.prototypes.injection"] = _kind(shapes, "prototypes.injection.", _INJECTIONS, "cross_attention")
        settings["model.prototypes.target"] = _kind(shapes, "prototypes.reconstruction.", _TARGETS, "stop_gradient")
    if "text.project.weight" in shapes:
        settings["model.null_text"] = _kind(shapes, "text.", _NULL_TEXTS, "empty")
    return settings


_BASELINES = {"dit": "network.pos_embed.proj.weight", "unet": "network.conv_in.weight"}
_INJECTIONS = {"released": "inject_mlp.weight", "self_attention": "self_attention.out.weight"}
_TARGETS = {"released": "key.weight"}
_NULL_TEXTS = {"learned": "null"}


def _kind(shapes: Mapping[str, tuple[int, ...]], part: str, kinds: Mapping[str, str], otherwise: str) -> str:
    """Kind of a part, by the presence of a weight that only this kind has."""
    return next((kind for kind, weight in kinds.items() if part + weight in shapes), otherwise)


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


def read_bank(data: bytes, where: str) -> PromptBank:
    """Read the prompt bank from bytes of a Parquet file.

    Raises:
        CheckpointError: the bytes are not a prompt bank.
    """
    try:
        return PromptBank.from_table(pq.read_table(io.BytesIO(data)))
    except (pa.ArrowException, DataError) as error:
        raise CheckpointError(f"{where}: {str(error).splitlines()[0]}. {_UPDATE}") from None


def require_device(device: str) -> None:
    """Check that this machine has a device, before any file is read.

    Raises:
        BackendError: the device is missing; names the available ones.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        have = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise BackendError(f"device {device!r} is not on this machine. Accepted: {', '.join(have)}.") from None
