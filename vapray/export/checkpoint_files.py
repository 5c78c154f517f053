"""Files of the diffusers folder of a checkpoint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files as resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, tensor

from vapray.bank.transformer_encoder import TransformerEncoder
from vapray.export.export_source import ExportSource
from vapray.export.model_settings import model_settings
from vapray.latents.file_names import CONFIG_FILE, WEIGHTS_FILE
from vapray.models.uvit import UViT
from vapray.store.checkpoint import read_folder_bytes

__all__ = ["component_files"]

MODULE = "vap_diffusion"
FOR_TRAINING = "prototypes.reconstruction."
"""Prefix of weights that only the training loss uses."""


@dataclass(frozen=True)
class _Component:
    """Component of a diffusers pipeline."""

    library: str | None = None
    """Library or module in model_index.json; None for a component that is absent."""
    kind: str | None = None
    """Class in model_index.json."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files by name."""


def component_files(opened: ExportSource) -> dict[str, bytes]:
    """All files of the folder except the model card and the checksums, by path below the folder.

    Raises:
        ConfigError: a text encoder that the exported code cannot reproduce.
    """
    tower = opened.text_encoder.portable() if isinstance(opened.text_encoder, TransformerEncoder) else None
    taken = tower if opened.with_text_encoder else None
    components = {
        "model": _model(opened, model_settings(opened, tower)),
        "baseline": _Component() if isinstance(opened.network, UViT) else _library_class(opened.network.network),
        "vae": _vae(opened.autoencoder),
        "text_encoder": _library_class(taken.network) if taken else _Component(),
        "tokenizer": _library_class(taken.tokenizer) if taken else _Component(),
    }
    index = {
        # The module is in the folder of the component that uses it, as diffusers expects; the pipeline is in it too.
        "_class_name": [f"model/{MODULE}", "VapDiffusionPipeline"],
        "_diffusers_version": version("diffusers"),
        **{name: [component.library, component.kind] for name, component in components.items()},
    }
    files = {f"{name}/{file}": data for name, found in components.items() for file, data in found.files.items()}
    return {"model_index.json": _json(index), **files}


def _model(opened: ExportSource, settings: dict[str, Any]) -> _Component:
    """Component with the module, the weights, the settings and the prompt bank."""
    weights = _weights(opened)
    settings["weight_shapes"] = {name: list(weight.shape) for name, weight in weights.items()}
    files = {
        f"{MODULE}.py": resources("vapray.export").joinpath(f"{MODULE}.py").read_bytes(),
        CONFIG_FILE: _json(settings),
        WEIGHTS_FILE: save_safetensors(weights, metadata={"format": "pt"}),
    }
    return _Component(MODULE, "VapModel", files | ({"captions.json": _captions(opened)} if opened.with_bank else {}))


def _weights(opened: ExportSource) -> dict[str, Tensor]:
    """Tensors of the U-ViT, of the decoder of TAEF2 or of principal components, and of the latent space."""
    state = opened.network.state_dict() if isinstance(opened.network, UViT) else {}
    weights = {name: weight for name, weight in state.items() if not name.startswith(FOR_TRAINING)}
    if _autoencoder_class(opened.autoencoder) == "TinyAutoencoder":
        tiny = load_safetensors(opened.autoencoder[WEIGHTS_FILE])
        weights |= {_taef2_name(name): weight for name, weight in tiny.items() if name.startswith("decoder.")}
    if _autoencoder_class(opened.autoencoder) == "PatchPca":
        pca = load_safetensors(opened.autoencoder[WEIGHTS_FILE])
        weights |= {name.replace("decoder.", "pca."): weight for name, weight in pca.items() if "decoder." in name}
    space = opened.card.space
    weights |= {"latent_shift": tensor(space.shift), "latent_scale": tensor(space.scale)}
    return {name: weight.contiguous() for name, weight in weights.items()}


def _taef2_name(name: str) -> str:
    """Name in diffusers' tiny decoder, whose layers do not count the bound of the latents."""
    _, layer, rest = name.split(".", 2)
    return f"taef2.layers.{int(layer) - 1}.{rest}"


def _vae(files: Mapping[str, bytes]) -> _Component:
    """AutoencoderKL of diffusers; absent for pixels, and where the decoder is in ``model``: TAEF2, components."""
    if _autoencoder_class(files) != "AutoencoderKL":
        return _Component()
    config = json.loads(files[CONFIG_FILE])
    config.pop("_name_or_path", None)  # a path of the machine that trained it
    return _Component("diffusers", "AutoencoderKL", {**files, CONFIG_FILE: _json(config)})


def _autoencoder_class(files: Mapping[str, bytes]) -> str:
    return str(json.loads(files[CONFIG_FILE])["_class_name"])


def _library_class(component: Any) -> _Component:
    """Model or tokenizer of diffusers or transformers, saved by its own class."""
    with TemporaryDirectory() as folder:
        component.save_pretrained(folder)
        files = read_folder_bytes(Path(folder))
    kind = type(component)
    return _Component(kind.__module__.split(".")[0], kind.__name__, files)


def _captions(opened: ExportSource) -> bytes:
    """Captions of every class in the order of the bank, without the ids of their images."""
    bank, names = opened.bank, opened.card.class_names
    by_class = {name: bank.captions(label) if label in bank.labels else () for label, name in enumerate(names)}
    return json.dumps(by_class, indent=1, ensure_ascii=False).encode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
