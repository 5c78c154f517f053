"""Laws of the extractors with weights of their own: they give what their libraries give, from files alone."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor
from torch.nn import functional

from tests.bank.tiny_models import biomedclip
from tests.evaluation.extractor_weights import asked
from vapray.config import Evaluate
from vapray.downstream.networks import MEAN, STD, build_network, to_safetensors
from vapray.errors import BackendError, ConfigError, DataError
from vapray.evaluation.classifier import train_classifier
from vapray.evaluation.extractors.weight_files import INCEPTION_FILE
from vapray.evaluation.features import build_extractor
from vapray.metrics.inception import inception_score
from vapray.pretrained.dinov2_positions import resample_positions

from . import extractor_weights as weights
from .pictures import Images, scenes

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"
REAL_SQUEEZENET = WEIGHTS / "squeezenet1_0_deepcompression_caffe_imagenet.pth"
"""Of ImageNet, see the note beside it."""


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights.inception(tmp_path_factory.mktemp("inception") / INCEPTION_FILE)


@pytest.fixture(scope="module")
def pictures() -> Images:
    return scenes(2, 0)[0]


def planes(pictures: Images) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def test_inception_s_features_and_score_are_those_of_torch_fidelity(inception: Path, pictures: Images) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.metric_isc import isc_features_to_metric

    theirs = FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"], str(inception))
    features, logits = theirs(planes(pictures))
    extractor = asked("inception_v3", inception)
    assert not extractor.space.standardized
    ours = extractor(pictures)
    np.testing.assert_allclose(ours, features, rtol=1e-5, atol=1e-6)
    probabilities = extractor.space.probabilities(ours)
    assert probabilities is not None
    np.testing.assert_allclose(probabilities, logits.double().softmax(dim=1), rtol=1e-4)
    score = isc_features_to_metric(logits, splits=2, shuffle=False)["inception_score_mean"]
    assert inception_score(probabilities, splits=2, seed=None).mean == pytest.approx(score, rel=1e-5)


def test_inception_is_found_in_torch_hub_s_cache_and_never_fetched(
    inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(BackendError, match=f"download https.*{INCEPTION_FILE}"):
        asked("inception_v3")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / INCEPTION_FILE).symlink_to(inception)
    assert asked("inception_v3").space == asked("inception_v3", inception).space


def test_another_network_s_weights_are_refused(inception: Path, tmp_path: Path) -> None:
    squeezenet = weights.squeezenet(tmp_path / "squeezenet.pth", "1_1")
    for features, path in (("squeezenet", inception), ("vgg16", squeezenet), ("inception_v3", squeezenet)):
        with pytest.raises(ConfigError, match="not the weights of"):
            asked(features, path)


def test_vgg16_gives_the_second_fully_connected_layer_of_torchvision_s(tmp_path: Path, pictures: Images) -> None:
    path = weights.vgg16(tmp_path / "vgg16.pth")
    with torch.device("meta"):
        network = torchvision.models.vgg16(weights=None, init_weights=False).eval()
    network.load_state_dict(torch.load(path, weights_only=True), assign=True)
    seen = torchvision.transforms.functional.normalize(
        functional.interpolate(planes(pictures) / 255, size=(224, 224), mode="bilinear", antialias=True),
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    )
    with torch.no_grad():
        wanted = network.classifier[:5](network.avgpool(network.features(seen)).flatten(1))
    assert (wanted[0] - wanted[1]).abs().max() > 0.01 * wanted.abs().max() > 0
    np.testing.assert_allclose(asked("vgg16", path)(pictures), wanted, rtol=1e-4, atol=1e-5)


def test_densenet121_gives_the_mean_of_its_last_maps_at_the_side_its_file_tells(
    tmp_path: Path, pictures: Images
) -> None:
    torch.manual_seed(0)
    network = build_network("densenet121", 3, 32).eval()
    kept, published = tmp_path / "densenet121.safetensors", tmp_path / "densenet121.pth"
    kept.write_bytes(to_safetensors(network, "densenet121", ["a", "b", "c"], 32))
    of_torchvision = {re.sub(r"(denselayer\d+\.(?:norm|conv))", r"\1.", k): w for k, w in network.state_dict().items()}
    torch.save(of_torchvision, published)
    seen = torchvision.transforms.functional.normalize(
        functional.interpolate(planes(pictures) / 255, size=(32, 32), mode="bilinear", antialias=True), MEAN, STD
    )
    with torch.no_grad():
        wanted = network.features(seen).relu().mean((2, 3))
    extractor = asked("densenet121", kept)
    assert (extractor.space.resize, extractor.space.width) == (32, 1024)
    np.testing.assert_allclose(extractor(pictures), wanted, rtol=1e-4, atol=1e-5)
    assert asked("densenet121", published).space.resize == 224


@pytest.mark.parametrize("version", ["1_0", "1_1"])
def test_squeezenet_s_version_is_told_by_its_file(version: str, tmp_path: Path, pictures: Images) -> None:
    extractor = asked("squeezenet", weights.squeezenet(tmp_path / "squeezenet.pth", version))
    assert version.replace("_", ".") in extractor.space.name
    features = extractor(pictures)
    assert features.shape == (2, 512) == (2, extractor.space.width)
    np.testing.assert_allclose(features[:1], extractor(pictures[:1]), rtol=1e-4, atol=1e-6)


def test_pixels_make_another_extractor(tmp_path: Path, pictures: Images) -> None:
    path = weights.squeezenet(tmp_path / "squeezenet.pth", "1_1")
    imagenet, caffe = asked("squeezenet", path), asked("squeezenet", path, preprocessing="caffe")
    assert imagenet.space.sha256 != caffe.space.sha256
    assert not np.allclose(imagenet(pictures), caffe(pictures), rtol=0.01)


@pytest.mark.skipif(not REAL_SQUEEZENET.is_file(), reason="the trained SqueezeNet is not on this machine")
def test_caffe_s_pixels_are_blue_first_without_the_mean(pictures: Images) -> None:
    network = torchvision.models.squeezenet1_0(weights=None).eval()
    network.load_state_dict(torch.load(REAL_SQUEEZENET, weights_only=True))
    large = functional.interpolate(planes(pictures).float(), size=(224, 224), mode="bilinear", antialias=True)
    seen = torch.stack([large[:, 2] - 104, large[:, 1] - 117, large[:, 0] - 123], dim=1)
    with torch.no_grad():
        wanted = network.features(seen).mean(dim=(2, 3))
    ours = asked("squeezenet", REAL_SQUEEZENET, preprocessing="caffe")(pictures)
    np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-3 * wanted.max())


def test_dinov2_is_timm_s_class_token_with_the_positions_of_its_authors(tmp_path: Path, pictures: Images) -> None:
    import timm

    folder = weights.dinov2(tmp_path / "dinov2")
    extractor = asked("dinov2", folder)
    network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    positions = resample_positions(network.pos_embed.data, 16)
    network.set_input_size(img_size=(224, 224))
    network.eval().pos_embed.data.copy_(positions)
    seen = functional.interpolate(planes(pictures) / 255, size=(224, 224), mode="bicubic", antialias=True)
    mean, deviation = (torch.tensor(network.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        wanted = network((seen.clamp(0, 1) - mean) / deviation)
    np.testing.assert_allclose(extractor(pictures), wanted, rtol=1e-4, atol=1e-5)
    assert (extractor.space.width, extractor.space.resize) == (32, 224)


def test_biomedclip_is_open_clip_s_image_embedding(tmp_path: Path, pictures: Images) -> None:
    import open_clip

    folder = biomedclip(tmp_path / "biomedclip")
    card = json.loads((folder / "open_clip_config.json").read_text())
    card["model_cfg"]["vision_cfg"]["image_size"] = 224
    (folder / "open_clip_config.json").write_text(json.dumps(card))
    text = card["model_cfg"]["text_cfg"]
    local = text | {"hf_model_name": str(folder), "hf_model_pretrained": False}
    network = open_clip.create_model(f"local-dir:{folder}", text_cfg=local, require_pretrained=True).eval()
    large = functional.interpolate(planes(pictures) / 255, size=(224, 224), mode="bicubic", antialias=True)
    mean, deviation = (torch.tensor(of).view(3, 1, 1) for of in (network.visual.image_mean, network.visual.image_std))
    with torch.no_grad():
        wanted = network.encode_image((large.clamp(0, 1) - mean) / deviation)
    extractor = asked("biomedclip", folder)
    np.testing.assert_allclose(extractor(pictures), wanted, rtol=1e-4, atol=1e-5)
    assert (extractor.space.width, extractor.space.resize) == (16, 224)


def test_the_classifier_s_features_are_what_its_last_layer_sees() -> None:
    images, labels = scenes(40, 0)
    classifier = train_classifier(images, labels, 5, steps=3)
    extractor = build_extractor(Evaluate(features="classifier"), classifier=classifier)
    last = list(classifier.network.children())[-1]
    with torch.no_grad():
        probabilities = last(torch.from_numpy(np.asarray(extractor(images)))).softmax(dim=1)
    np.testing.assert_allclose(probabilities, classifier.probabilities(images), atol=1e-6)
    other = train_classifier(images, labels, 5, steps=4)
    assert extractor.space.sha256 != build_extractor(Evaluate(features="classifier"), classifier=other).space.sha256
    with pytest.raises(DataError, match="has no classifier"):
        build_extractor(Evaluate(features="classifier"))


def test_no_pictures_give_no_rows_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    extractor = asked("squeezenet", weights.squeezenet(tmp_path / "squeezenet.pth", "1_1"))
    assert extractor(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, 512)
    with pytest.raises(DataError, match="uint8"):
        extractor(np.zeros((1, 8, 8, 3), np.float32))  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_here_is_refused(tmp_path: Path) -> None:
    settings = Evaluate(features="squeezenet", weights=str(weights.squeezenet(tmp_path / "s.pth", "1_1")))
    with pytest.raises(BackendError, match=r"pools\.evaluate\.num_gpus=0"):
        build_extractor(settings, "cuda")
