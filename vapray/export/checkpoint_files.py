"""From an opened checkpoint to the files of a diffusers folder."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from vapray import __version__
from vapray.export.bundle import bundle
from vapray.export.caption_bank import CAPTIONS_FILE, captions_file
from vapray.export.loaded_checkpoint import LoadedCheckpoint
from vapray.export.settings_read import noting
from vapray.export.text_encoders import FILES_FOLDER
from vapray.latents.file_names import CONFIG_FILE, WEIGHTS_FILE
from vapray.pretrained.model_files import public_name
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.rendering import build_engine

__all__ = ["component_files"]

PIPELINE_CLASS = "VapDiffusionPipeline"


def component_files(opened: LoadedCheckpoint) -> dict[str, bytes]:
    """All files of the folder but the model card, by path below it."""
    components = {
        "denoiser": _denoiser(opened),
        "vae": _vae(opened),
        "prompt_bank": _bank(opened) if opened.with_bank else NOT_THERE,
        "text_encoder": _text_encoder(opened) if opened.takes_captions else NOT_THERE,
    }
    pipeline, code = _code("pipeline", PIPELINE_CLASS)
    index = {
        "_class_name": [pipeline, PIPELINE_CLASS],
        "_diffusers_version": version("diffusers"),
        **{name: component.place for name, component in components.items()},
        "model": _facts(opened),
    }
    files = {f"{name}/{file}": data for name, found in components.items() for file, data in found.files.items()}
    return {"model_index.json": _json(index), f"{pipeline}.py": code, **files}


@dataclass(frozen=True)
class _Component:
    """A folder of the pipeline."""

    place: tuple[str | None, str | None]
    """Module and class, as model_index.json has them."""
    files: Mapping[str, bytes]
    """By name."""


NOT_THERE = _Component((None, None), {})


def _code(module: str, name: str) -> tuple[str, bytes]:
    """The name of a file with a class's code, and the code.

    diffusers copies all code that it loads into one folder: the name tells it from that of other versions.
    """
    source = bundle(f"vapray.export.{module}", name).encode()
    return f"vap_{module}_{hashlib.sha256(source).hexdigest()[:8]}", source


def _ours(module: str, name: str, files: Mapping[str, bytes]) -> _Component:
    """A component whose code comes along."""
    file, code = _code(module, name)
    return _Component((file, name), {f"{file}.py": code, **files})


def _denoiser(opened: LoadedCheckpoint) -> _Component:
    config = {
        "settings": opened.network_settings,
        "num_classes": len(opened.card.class_names),
        "latent_channels": opened.card.space.channels,
        "context_width": opened.card.context_width,
    }
    weights = {f"network.{name}": weight for name, weight in opened.network.state_dict().items()}
    return _ours("denoiser", "VapDenoiser", _model_files("VapDenoiser", config, weights))


def _vae(opened: LoadedCheckpoint) -> _Component:
    """As the genuine class of diffusers where it is an AutoencoderKL."""
    config = json.loads(opened.autoencoder[CONFIG_FILE])
    if config["_class_name"] == "PixelSpace":
        return NOT_THERE
    if config["_class_name"] == "AutoencoderKL":
        config.pop("_name_or_path", None)  # a folder of the machine that trained it
        return _Component(("diffusers", "AutoencoderKL"), {**opened.autoencoder, CONFIG_FILE: _json(config)})
    weights = {f"network.{name}": weight for name, weight in load_safetensors(opened.autoencoder[WEIGHTS_FILE]).items()}
    sizes = {name: config[name] for name in ("latent_channels", "width")}
    return _ours("tiny_vae", "VapTinyVae", _model_files("VapTinyVae", sizes, weights))


def _bank(opened: LoadedCheckpoint) -> _Component:
    captions = captions_file(opened.bank, opened.card.class_names)
    return _ours("caption_bank", "CaptionBank", {CAPTIONS_FILE: captions})


def _text_encoder(opened: LoadedCheckpoint) -> _Component:
    card = opened.card
    settings = card.config.bank.model_dump(mode="json")
    if public_name(settings["model"]) is None:
        settings |= {"model": None, "revision": None}
    config = {"id": card.text_encoder, "settings": settings}
    name = "VapHashingText" if settings["encoder"] == "hashing" else "VapTowerText"
    files = {f"{FILES_FOLDER}/{file}": data for file, data in opened.text_files.items()}
    return _ours("text_encoders", name, {CONFIG_FILE: _json(config), **files})


def _model_files(name: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, bytes]:
    """A model in diffusers' layout."""
    head = {"_class_name": name, "_diffusers_version": version("diffusers")}
    whole = {key: weight.contiguous() for key, weight in weights.items()}
    return {
        CONFIG_FILE: _json({**head, **config}),
        WEIGHTS_FILE: save_safetensors(whole, metadata={"format": "pt"}),
    }


def _facts(opened: LoadedCheckpoint) -> dict[str, Any]:
    """What the pipeline knows of the model besides its components."""
    card, settings = opened.card, dict[str, Any]()
    build_engine(opened.network, noting(card.config, settings), card.space)
    return {
        "class_names": card.class_names,
        "latent_space": card.space.to_record(),
        "settings": settings,
        "sampling": SamplingSettings.from_config(card.config).__dict__,
        "sha256": opened.sha256,
        "vapray": __version__,
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
