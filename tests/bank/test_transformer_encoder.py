"""Contexts and ids of the text towers of open_clip and transformers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.bank import tiny_models
from tests.bank.conftest import KINDS, TEXTS, are_installed, encoder_of, opened
from vapray.bank.tower_files import find_tower
from vapray.bank.transformer_encoder import TEXTS_OF_A_BATCH
from vapray.config import TextEncoderSection
from vapray.errors import ConfigError, DataError

pytestmark = pytest.mark.skipif(not are_installed("open_clip", "transformers"), reason="needs the extra clip")

WITHIN_FLOAT16 = {"rtol": 2e-3, "atol": 2e-3}  # values are of order 1; two roundings to 11 bits
SAME_SUMS = {"rtol": 1e-3, "atol": 1e-3}  # one rounding, of sums in another order


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def last_hidden_states(folder: Path, name: str, text: str) -> np.ndarray:
    """By transformers alone, one text at a time, so without padding; weights taken from the file."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if name == "biomedclip":
        tower = transformers.BertModel(transformers.BertConfig.from_pretrained(folder), add_pooling_layer=False)
        state = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
        prefix = "text.transformer."
        tower.load_state_dict({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
    else:
        kind = transformers.CLIPTextModel if name == "clip" else transformers.BertModel
        tower = kind.from_pretrained(folder)
    with torch.no_grad():
        hidden: torch.Tensor = tower.eval()(**tokenizer(text, return_tensors="pt")).last_hidden_state
    return hidden[0].numpy()


def test_contexts_are_the_last_hidden_states_of_the_same_weights(folders: dict[str, Path], name: str) -> None:
    for text, context in zip(TEXTS, opened(folders, name).encode(TEXTS), strict=True):
        wanted = last_hidden_states(folders[name], name, text)
        assert context.dtype == np.float16
        assert context.shape == wanted.shape
        np.testing.assert_allclose(context.astype(np.float32), wanted, **SAME_SUMS)


def test_padding_and_company_never_change_a_context(folders: dict[str, Path], name: str) -> None:
    encoder = opened(folders, name)
    many = [text for repeat in range(TEXTS_OF_A_BATCH // 2) for text in (*TEXTS, f"lesion {repeat}")]
    together = encoder.encode(many)
    assert len({len(context) for context in together}) > 3
    for text in TEXTS:
        (alone,) = encoder.encode([text])
        for among in (context for other, context in zip(many, together, strict=True) if other == text):
            assert among.shape == alone.shape
            np.testing.assert_allclose(among.astype(np.float32), alone.astype(np.float32), **WITHIN_FLOAT16)


def test_cls_and_sep_are_tokens_of_biomedclips_tower_and_cls_is_none_of_the_other_poolers(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    (whole,) = opened(folders, "biomedclip").encode(["a brown lesion"])
    assert len(whole) == 5
    other = tiny_models.biomedclip(tmp_path / "other", pooler="cls_pooler")
    (without,) = encoder_of(other, "open_clip").encode(["a brown lesion"])
    assert len(without) == 4


def test_full_contexts_begin_with_the_real_ones_and_have_one_length(folders: dict[str, Path], name: str) -> None:
    encoder, full = opened(folders, name), opened(folders, name, context_length="full")
    for real, padded in zip(encoder.encode(TEXTS), full.encode(TEXTS), strict=True):
        assert padded.shape == (full.max_tokens, full.width)
        np.testing.assert_allclose(padded[: len(real)].astype(float), real.astype(float), **WITHIN_FLOAT16)
    assert full.id != encoder.id


def test_the_empty_text_is_its_special_tokens_and_padding(folders: dict[str, Path], name: str) -> None:
    encoder, full = opened(folders, name), opened(folders, name, context_length="full")
    empty = full.encode_empty()
    assert empty.shape == (full.max_tokens, full.width)
    wanted = last_hidden_states(folders[name], name, "")
    np.testing.assert_allclose(empty[: len(wanted)].astype(np.float32), wanted, **WITHIN_FLOAT16)
    with pytest.raises(ConfigError, match=r"has no padded empty text\. Fix: set learned"):
        encoder.encode_empty()


def test_a_tower_that_takes_a_token_away_has_no_whole_empty_text(tmp_path: Path) -> None:
    folder = tiny_models.biomedclip(tmp_path / "other", pooler="cls_pooler")
    with pytest.raises(ConfigError, match=r"gives \d+ of \d+ padded tokens; the network needs all\. Fix: set learned"):
        encoder_of(folder, "open_clip", context_length="full").encode_empty()


def test_what_cannot_be_encoded_is_refused_alone_and_never_cut(folders: dict[str, Path], name: str) -> None:
    encoder = opened(folders, name)
    rows = ["a brown lesion", "", "lesion " * 60, " \n", "\ud800", "skin"]
    encoded = encoder.encode_each(rows)
    assert [isinstance(one, DataError) for one in encoded] == [False, True, True, True, True, False]
    assert "tokens; expected 1 to" in str(encoded[2])
    assert encoder.encode_each([]) == []
    with pytest.raises(DataError, match="text 1, '': 0 tokens"):
        encoder.encode(rows)


def test_a_text_of_exactly_the_most_tokens_is_taken_and_one_more_is_not(folders: dict[str, Path]) -> None:
    encoder = opened(folders, "biomedclip")
    assert len(encoder.encode(["lesion " * 30])[0]) == 32  # with CLS and SEP
    with pytest.raises(DataError, match="33 tokens; expected 1 to 32"):
        encoder.encode(["lesion " * 31])


def test_ids_follow_content_and_settings_and_not_the_place(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    encoder = opened(folders, name)
    copied = Path(shutil.copytree(folders[name], tmp_path / "copy"))
    assert opened({name: copied}, name).id == encoder.id
    assert opened(folders, name, max_tokens=9).id != encoder.id if name != "clip" else True
    for file in (
        "config.json",
        "tokenizer.json",
        find_tower(TextEncoderSection(encoder=KINDS[name], model=str(copied))).weights[0].name,
    ):
        changed = Path(shutil.copytree(folders[name], tmp_path / file))
        (changed / file).write_bytes((changed / file).read_bytes() + b" ")
        assert opened({name: changed}, name).id != encoder.id


def test_other_weights_are_another_encoder(tmp_path: Path) -> None:
    one, other = (encoder_of(tiny_models.bert(tmp_path / str(seed), seed=seed), "transformers") for seed in (0, 1))
    assert one.id != other.id
    assert not np.allclose(one.encode(["skin"])[0], other.encode(["skin"])[0])
