"""Files of text towers: found without network, refused where damaged or missing, never run as code."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.bad_inputs.refusal import BACKEND, CHECKPOINT, CONFIG, refused
from tests.bank import tiny_models
from tests.bank.conftest import TEXTS, are_installed, encoder_of, opened

pytestmark = pytest.mark.skipif(not are_installed("open_clip", "transformers"), reason="needs the extra clip")


def test_a_model_of_the_hub_is_taken_from_the_cache_without_network(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    tiny_models.in_hub_cache(folders["biomedclip"], tmp_path, "microsoft/Biomed")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cached = encoder_of("hf-hub:microsoft/Biomed", "open_clip")
    local = opened(folders, "biomedclip")
    assert cached.id == local.id
    assert np.array_equal(cached.encode(TEXTS)[1], local.encode(TEXTS)[1])


def test_a_model_that_is_not_in_the_cache_while_offline_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for kind in ("open_clip", "transformers"):
        refused(
            BACKEND,
            lambda kind=kind: encoder_of("hf-hub:microsoft/Biomed", kind),
            "hf-hub:microsoft/Biomed: incomplete in the cache",
            "HF_HUB_OFFLINE",
            "directory",
        )
    refused(
        CONFIG, lambda: encoder_of("hf-hub:a/b/c", "open_clip"), "text_encoder.model = hf-hub:a/b/c: no such directory"
    )


def test_a_text_tower_whose_config_is_nowhere_names_it(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["biomedclip"], tmp_path / "bare"))
    (folder / "config.json").unlink()
    words = f"put the config.json of {tiny_models.BIOMED_TOWER} into {folder}"
    refused(BACKEND, lambda: encoder_of(folder, "open_clip"), words)


def test_a_folder_that_lacks_something_says_what(folders: dict[str, Path], tmp_path: Path) -> None:
    refused(CONFIG, lambda: encoder_of(tmp_path / "gone", "open_clip"), "gone: no such directory", "hf-hub:OWNER/NAME")
    refused(
        CONFIG,
        lambda: encoder_of(tmp_path, "transformers"),
        "no config.json; no weights (model.safetensors",
        "tokenizer",
    )
    refused(
        CONFIG, lambda: encoder_of(folders["bert"], "open_clip"), "no open_clip_config.json; no weights (open_clip_"
    )
    refused(CONFIG, lambda: encoder_of(folders["bert"], "transformers", max_tokens=65), "65", "takes at most 64 tokens")


def damage_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def without_a_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({key: value for key, value in weights.items() if "layer.1." not in key}, folder / "model.safetensors")


def not_finite(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({key: value * float("nan") for key, value in weights.items()}, folder / "model.safetensors")


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


DAMAGES = {
    "half of the weights": (cut, CHECKPOINT, "cannot be loaded by transformers"),
    "a layer is missing": (without_a_layer, CHECKPOINT, "its weights lack"),
    "not finite": (not_finite, CHECKPOINT, "outside float16's range"),
    "no JSON": (damage_config, CONFIG, "config.json: cannot be read as JSON"),
}


@pytest.mark.parametrize(("damage", "code", "words"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_weights_never_encode(folders: dict[str, Path], tmp_path: Path, damage, code: int, words: str) -> None:
    folder = Path(shutil.copytree(folders["bert"], tmp_path / "bert"))
    damage(folder)
    refused(code, lambda: encoder_of(folder, "transformers").encode(["skin"]), folder, words)


def test_a_pickle_that_runs_code_is_never_unpickled(folders: dict[str, Path], tmp_path: Path) -> None:
    import pickle

    folder, trace = Path(shutil.copytree(folders["biomedclip"], tmp_path / "evil")), tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (trace,))

    (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps({"text": Evil()}, protocol=2))
    refused(
        CHECKPOINT, lambda: encoder_of(folder, "open_clip").encode(["skin"]), folder, "cannot be loaded by open_clip"
    )
    assert not trace.exists()
    pickle.loads((folder / "open_clip_pytorch_model.bin").read_bytes())
    assert trace.exists()  # the file was armed


def test_a_model_with_code_of_its_own_is_not_run(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["bert"], tmp_path / "own"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    refused(CHECKPOINT, lambda: encoder_of(folder, "transformers").encode(["skin"]), "cannot be loaded by transformers")
    assert not (tmp_path / "ran").exists()


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vapray.bank.tower_files.find_spec", lambda name: None)
    refused(BACKEND, lambda: encoder_of(tmp_path, "open_clip"), "open_clip and transformers not installed", ".[clip]")
