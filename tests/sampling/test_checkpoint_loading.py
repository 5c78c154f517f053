"""Weights that are not of the card's architecture are told by the settings that differ."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny import CLASSES, WIDTH, tiny_config
from vapray.errors import CheckpointError
from vapray.latents.latent_space import LatentSpace
from vapray.sampling.checkpoint_loading import CheckpointMetadata, read_metadata
from vapray.sampling.network_weights import load_network_weights
from vapray.store.checkpoint import write_checkpoint
from vapray.store.files import FileStore
from vapray.training.network import Network, build_network
from vapray.training.state import save_weights

UVIT: list[str] = []
RELEASED = ["model.prototypes.injection=released", "model.prototypes.target=released"]
BASELINE = ["model.condition=class", "model.prototypes.enabled=false", "model.num_heads=1"]
DIT, UNET = ["model.network=dit", *BASELINE], ["model.network=unet", *BASELINE]


def network(overrides: list[str]) -> Network:
    config = tiny_config(*overrides)
    return build_network(config, num_classes=CLASSES, latent_channels=2, context_width=WIDTH)


@pytest.mark.parametrize(
    ("card", "weights", "differing"),
    [
        (["model.label_token=false"], UVIT, ["model.label_token is false in checkpoint.json and true in the weights"]),
        (UVIT, ["model.label_token=false"], ["model.label_token is true in checkpoint.json and false in the weights"]),
        (
            UVIT,
            RELEASED,
            [
                "model.prototypes.injection is self_attention in checkpoint.json and released in the weights",
                "model.prototypes.target is stop_gradient in checkpoint.json and released in the weights",
            ],
        ),
        (
            ["model.prototypes.injection=cross_attention"],
            UVIT,
            ["model.prototypes.injection is cross_attention in checkpoint.json and self_attention in the weights"],
        ),
        (
            [
                "model.null_text=empty",
                "text_encoder.context_length=full",
                "text_encoder.encoder=transformers",
                "text_encoder.model=tower",
            ],
            UVIT,
            ["model.null_text is empty in checkpoint.json and learned in the weights"],
        ),
        (
            UVIT,
            ["model.prototypes.per_class=3"],
            ["model.prototypes.per_class is 8 in checkpoint.json and 3 in the weights"],
        ),
        (DIT, UVIT, ["model.network is dit in checkpoint.json and uvit in the weights"]),
        (UVIT, UNET, ["model.network is uvit in checkpoint.json and unet in the weights"]),
    ],
)
def test_exactly_the_settings_that_differ_are_named(card, weights, differing):
    with pytest.raises(CheckpointError) as told:
        load_network_weights(network(card), save_weights(network(weights)), "ema.safetensors")
    assert str(told.value).startswith(f"ema.safetensors: another architecture: {'; '.join(differing)}. ")


@pytest.mark.parametrize("weights", [UVIT, RELEASED, DIT, UNET])
def test_weights_of_the_same_architecture_open(weights):
    load_network_weights(network(weights), save_weights(network(weights)), "ema.safetensors")


def card_of(config: dict[str, Any]) -> bytes:
    space = LatentSpace(channels=1, side=4, shift=(0.0,), scale=(1.0,)).to_record()
    named = {"class_names": ["a", "b"], "latent_space": space, "text_encoder": "words", "context_width": WIDTH}
    return json.dumps({"schema": 3, "config": config, **named}).encode()


@pytest.mark.parametrize("switch", ["label_tokens", "qk_norm", "rope", "time_mlp", "mlp"])
def test_a_card_from_before_a_switch_of_the_network_has_it_off(switch: str) -> None:
    config = tiny_config().model_dump(mode="json")
    del config["model"][switch]
    found = CheckpointMetadata.parse(card_of(config), "checkpoint.json").config
    assert found == tiny_config()


def test_a_card_is_read_without_weights_and_never_damaged(tmp_path: Path) -> None:
    card = card_of(tiny_config().model_dump(mode="json"))
    write_checkpoint(FileStore(str(tmp_path)), "final", {"checkpoint.json": card, "ema.safetensors": b"weights"})
    (tmp_path / "final/ema.safetensors").unlink()
    assert read_metadata(str(tmp_path / "final")).class_names == ("a", "b")
    (tmp_path / "final/checkpoint.json").write_bytes(card.replace(b'"b"', b'"c"'))
    with pytest.raises(CheckpointError, match=r"checkpoint.json: expected sha256 .*, found"):
        read_metadata(str(tmp_path / "final"))
    with pytest.raises(CheckpointError, match=r"no such folder\. Did you mean .*/final"):
        read_metadata(str(tmp_path / "nowhere"))
