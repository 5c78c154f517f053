"""Loading of a network's weights, with the settings that contradict them."""

from collections.abc import Mapping
from math import isqrt

from safetensors.torch import load as load_safetensors

from vapray.errors import CheckpointError
from vapray.training.network import Network
from vapray.training.state import load_weights

__all__ = ["UPDATE_ADVICE", "load_network_weights"]

UPDATE_ADVICE = "Fix: use the version of vapray that wrote it, or train again."


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
        raise CheckpointError(f"{where}: {_differing_settings(network, data) or error} {UPDATE_ADVICE}") from None


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
        "number of positions (bank.max_tokens, patches)": shapes["position"][0] - label_token,
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
