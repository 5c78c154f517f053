"""What the stages make of a text tower: parts with rejects, signatures, forecasts, and the sampler's reopening."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.bad_inputs.refusal import BACKEND, CHECKPOINT, CONFIG, refused
from tests.bank import tiny_models
from tests.bank.conftest import are_installed
from vapray.bank.content_hash import encoder_content_hash
from vapray.bank.factory import build_text_encoder
from vapray.bank.forecast import context_width, forecast, tokens_of_a_caption
from vapray.bank.stage import _EncodeCaptions
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.doctor.models import check
from vapray.latents.latent_space import LatentSpace
from vapray.runtime.forecast import ForecastInputs, Images
from vapray.sampling.checkpoint_loading import CheckpointMetadata, load_text_encoder
from vapray.store.tables import REJECT, unpack

pytestmark = pytest.mark.skipif(not are_installed("transformers"), reason="the extra clip is not installed")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.bert(tmp_path_factory.mktemp("models") / "bert")


def config_of(folder: Path | str, *overrides: str) -> Config:
    return load_config(
        None,
        ["text_encoder.encoder=transformers", f"text_encoder.model={folder}", "text_encoder.max_tokens=32", *overrides],
    )


def captions(*texts: str) -> pa.Table:
    rows = [
        {"image_id": f"image{number}", "label": 0, "split": "train", "group": "", "caption": text}
        for number, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows)


def test_a_part_holds_every_caption_once_as_a_context_or_as_a_reject(bert: Path) -> None:
    bank = config_of(bert).text_encoder
    texts = ["a brown lesion", "lesion " * 60, "dark skin", "", "brown skin. " * 12]
    part = _EncodeCaptions(config_of(bert), ())(captions(*texts)).to_pylist()
    by_id = {row["image_id"]: row for row in part}
    assert len(part) == len(by_id) == 5
    assert {key for key, row in by_id.items() if row[REJECT]} == {"image3"}
    assert by_id["image1"]["caption"] == ("lesion " * 30).strip()
    assert by_id["image4"]["caption"] == ("brown skin. " * 10).strip()
    assert [by_id[f"image{number}"]["cut_tokens"] for number in (0, 1, 2, 4)] == [0, 30, 0, 6]
    for key, text in (("image0", texts[0]), ("image2", texts[2])):
        row = by_id[key]
        stored = unpack(row["context"], "float16", 1, row["num_tokens"], row["width"])[0]
        (alone,) = build_text_encoder(bank).encode([text])
        np.testing.assert_allclose(stored.astype(float), alone.astype(float), atol=2e-3)


def test_the_signature_follows_what_lies_in_the_directory(bert: Path, tmp_path: Path) -> None:
    assert encoder_content_hash(Config()) == ""
    assert encoder_content_hash(config_of("hf-hub:microsoft/Biomed")) == ""
    copy = Path(shutil.copytree(bert, tmp_path / "copy"))
    before = encoder_content_hash(config_of(copy))
    assert before == encoder_content_hash(config_of(bert))
    tiny_models.bert(copy, seed=1)
    assert encoder_content_hash(config_of(copy)) != before
    refused(CONFIG, lambda: encoder_content_hash(config_of(tmp_path / "gone")), "gone: no such directory")


def test_a_forecast_knows_the_encoder_by_its_files_or_takes_it_for_a_bert_base(bert: Path) -> None:
    tiny, likely = config_of(bert), config_of("hf-hub:microsoft/Biomed", "text_encoder.max_tokens=256")
    assert (context_width(Config()), context_width(tiny), context_width(likely)) == (64, 32, 768)
    assert tokens_of_a_caption(config_of(bert, "text_encoder.context_length=full")) == 32
    images = Images({"train": 1000}, 2, 10_000)
    prices = [forecast(ForecastInputs(config, images, {"captions": 1000})) for config in (Config(), tiny, likely)]
    assert prices[0].bytes_written < prices[1].bytes_written < prices[2].bytes_written
    assert prices[2].part_bytes == pytest.approx(1000 * 40 * 768 * 2, rel=0.2)
    assert prices[2].peak_bytes > 1.5e9  # two copies of the weights while they are loaded
    on_gpu = config_of("hf-hub:microsoft/Biomed", "text_encoder.max_tokens=256", "pools.bank.num_gpus=1")
    assert forecast(ForecastInputs(on_gpu, images, {"captions": 1000})).work_seconds < prices[2].work_seconds / 100


def test_a_checkpoint_opens_only_the_encoder_that_it_was_trained_with(bert: Path, tmp_path: Path) -> None:
    config = config_of(Path(shutil.copytree(bert, tmp_path / "here")))
    space = LatentSpace(2, 4, (0.0, 0.0), (1.0, 1.0))
    card = CheckpointMetadata(config, space, ("a",), build_text_encoder(config.text_encoder).id, 32)
    (wanted,) = load_text_encoder(card, None, "cpu", "card").encode(["a brown lesion"])
    shutil.move(tmp_path / "here", tmp_path / "there")
    refused(CONFIG, lambda: load_text_encoder(card, None, "cpu", "card"), f"{tmp_path / 'here'}: no such directory")
    moved = load_text_encoder(card, str(tmp_path / "there"), "cpu", "card")
    assert np.array_equal(moved.encode(["a brown lesion"])[0], wanted)
    other = tiny_models.bert(tmp_path / "other", seed=1)
    words = [f"card: trained with the text encoder {card.text_encoder}", str(other), "text_encoder=DIRECTORY"]
    refused(CHECKPOINT, lambda: load_text_encoder(card, str(other), "cpu", "card"), *words)


def test_an_encoder_of_another_version_is_refused_for_hashing_too() -> None:
    space = LatentSpace(2, 4, (0.0, 0.0), (1.0, 1.0))
    card = CheckpointMetadata(Config(), space, ("a",), build_text_encoder(Config().text_encoder).id, 64)
    assert load_text_encoder(card, None, "cpu", "card").width == 64
    changed = dataclasses.replace(card, text_encoder="hashing-v0()")
    refused(CHECKPOINT, lambda: load_text_encoder(changed, None, "cpu", "card"), "hashing-v0()", "hashing-v1(width=64")


def test_the_doctor_says_whether_the_encoder_can_be_had(bert: Path, tmp_path: Path) -> None:
    shown = {
        "hashing": Config(),
        "there": config_of(bert),
        "not fetched": config_of("hf-hub:microsoft/Biomed"),
        "gone": config_of(tmp_path / "gone"),
    }
    states = {name: [*check(config)][1] for name, config in shown.items()}
    assert {name: finding.state for name, finding in states.items()} == {
        "hashing": "ok",
        "there": "ok",
        "not fetched": "failed",
        "gone": "failed",
    }
    assert "32 values per token" in states["there"].found
    assert states["gone"].exit_code == CONFIG


def test_a_device_that_is_not_there_is_refused_by_the_stage(bert: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    config = config_of(bert, "pools.bank.num_gpus=1")
    refused(BACKEND, lambda: _EncodeCaptions(config, ()), "device 'cuda' is not available", "pools.bank.num_gpus=0")
