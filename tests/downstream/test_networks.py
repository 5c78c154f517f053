"""The networks, where their weights come from, and what is said of their cost."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load
from torch.utils.flop_counter import FlopCounterMode

from vapray.config.file import load as load_config
from vapray.downstream.forecast import FLOPS_OF_A_PIXEL, PARAMETERS, VALUES_OF_A_PIXEL
from vapray.downstream.networks import build_network, to_safetensors
from vapray.downstream.signature import classifier_weights_signature
from vapray.errors import CheckpointError, ConfigError

SIDE = 64


@pytest.mark.parametrize("name", FLOPS_OF_A_PIXEL)
def test_forecasts_count_what_the_built_network_counts(name):
    network = build_network(name, 5, SIDE).train()
    own = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    pictures = torch.zeros(2, 3, SIDE, SIDE)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        assert network(pictures).shape == (2, 5)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(pictures)
    assert counter.get_total_flops() / 2 / SIDE**2 == pytest.approx(FLOPS_OF_A_PIXEL[name], rel=0.05)
    assert sum(kept.values()) / 4 / 2 / SIDE**2 == pytest.approx(VALUES_OF_A_PIXEL[name], rel=0.1)
    assert sum(weight.numel() for weight in network.parameters()) == pytest.approx(PARAMETERS[name], rel=0.02)


def test_maxvit_at_224_pixels_is_torchvision_s_own():
    from torchvision.models import maxvit_t

    with torch.device("meta"):
        own, published = build_network("maxvit", 1000, 224), maxvit_t(weights=None)
    assert {name: weight.shape for name, weight in own.state_dict().items()} == {
        name: weight.shape for name, weight in published.state_dict().items()
    }


def under_published_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As in the file that torchvision publishes for DenseNet-121."""
    parts = {f".{part}{number}.": f".{part}.{number}." for part in ("norm", "conv") for number in (1, 2)}
    renamed = {}
    for name, weight in weights.items():
        for new, old in parts.items() if "denselayer" in name else ():
            name = name.replace(new, old)
        renamed[name] = weight
    return renamed


def test_weights_of_a_file_are_taken_all_but_the_last_layer(tmp_path):
    torch.manual_seed(0)
    trained = build_network("densenet121", 9, SIDE)
    published, kept = tmp_path / "densenet121.pth", tmp_path / "densenet121.safetensors"
    torch.save(under_published_names(trained.state_dict()), published)
    kept.write_bytes(to_safetensors(trained, "densenet121", [*"abcdefghi"], SIDE))
    for path in (published, kept):
        started = build_network("densenet121", 4, SIDE, str(path))
        for name, weight in started.features.state_dict().items():
            assert torch.equal(weight, trained.features.state_dict()[name]), name
        assert started.classifier.weight.shape[0] == 4


def test_weights_of_another_network_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(to_safetensors(build_network("small", 4, SIDE), "small", [*"abcd"], SIDE))
    with pytest.raises(CheckpointError, match="have another shape, such as features"):
        build_network("densenet121", 4, SIDE, str(path))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        build_network("small", 4, SIDE, str(path))


def test_a_file_says_what_the_network_sees_and_answers(tmp_path):
    network = build_network("small", 2, SIDE)
    data = to_safetensors(network, "small", ["MEL", "NV"], SIDE)
    (tmp_path / "small.safetensors").write_bytes(data)
    with safe_open(tmp_path / "small.safetensors", "pt") as file:
        said = file.metadata()
    assert json.loads(said["class_names"]) == ["MEL", "NV"]
    assert (said["network"], said["image_side"]) == ("small", str(SIDE))
    assert load(data).keys() == network.state_dict().keys()


def test_other_weights_of_the_same_name_make_the_stage_run_again(tmp_path):
    path = tmp_path / "weights.pth"
    config = load_config(None, [f"downstream.weights={{small: {path}}}"])
    with pytest.raises(ConfigError, match=r"downstream\.weights small = .* no such file"):
        classifier_weights_signature(config)
    signatures = []
    for content in (b"one", b"two!"):
        path.write_bytes(content)
        signatures.append(classifier_weights_signature(config))
    assert signatures[0] != signatures[1]
    assert classifier_weights_signature(load_config(None, [])) == ""
