"""Files of an export, and its model card."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.export.checkpoints import CLASSES, make_checkpoint
from tests.export.conftest import files_of
from vapray.cli.app import app
from vapray.config import Caption, modality_name
from vapray.config.data import Modality
from vapray.errors import CheckpointError, ConfigError
from vapray.export import vap_diffusion
from vapray.export.export_source import open_checkpoint
from vapray.export.folder import export_checkpoint
from vapray.export.memorisation_gate import check_audits
from vapray.export.model_card import CAPTIONERS, model_card
from vapray.sampling.data_card import data_card
from vapray.sampling.sampler import Sampler
from vapray.store.files import FileStore


def test_the_folder_has_the_layout_of_diffusers(exported):
    index = json.loads((exported / "model_index.json").read_text())
    assert index["vae"] == ["diffusers", "AutoencoderKL"] and index["model"] == ["vap_diffusion", "VapModel"]
    assert (exported / f"{index['_class_name'][0]}.py").is_file()
    # diffusers takes every list of an index on the hub for a component.
    components = {"model", "baseline", "vae", "text_encoder", "tokenizer"}
    assert {key for key, value in index.items() if isinstance(value, list)} == components | {"_class_name"}


def test_the_module_is_copied_word_for_word(exported):
    (module,) = exported.rglob("*.py")
    assert module == exported / "model" / "vap_diffusion.py"
    assert module.read_bytes() == Path(vap_diffusion.__file__).read_bytes()


def test_weights_and_captions_are_those_of_the_checkpoint(exported, checkpoints):
    sampler = Sampler.load(str(checkpoints["diffusers"]))
    weights = load_file(exported / "model" / "diffusion_pytorch_model.safetensors")
    ours = {
        name: weight
        for name, weight in sampler.network.state_dict().items()
        if not name.startswith("prototypes.reconstruction.")
    }
    assert weights.keys() == ours.keys() | {"latent_scale", "latent_shift"}
    assert all(weights[name].equal(ours[name]) for name in ours)
    captions = json.loads((exported / "model" / "captions.json").read_text())
    assert captions == {name: list(sampler.bank.captions(label)) for label, name in enumerate(CLASSES)}


def test_an_export_says_nothing_of_the_machine_the_images_and_the_patients(checkpoints, tmp_path):
    for kind, checkpoint in checkpoints.items():
        export_checkpoint(str(checkpoint), str(tmp_path / kind), accept_unaudited=True)
        known = (checkpoint / "checkpoint.json").read_text() + (checkpoint / "autoencoder/config.json").read_text()
        assert str(checkpoint.parent) in known or kind == "class"
        for name, data in files_of(tmp_path / kind).items():
            assert str(tmp_path.parent).encode() not in data and b"/home" not in data, name
            assert b"patient-" not in data, name


def test_sha256sum_verifies_an_export(exported):
    assert shutil.which("sha256sum"), "coreutils"
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=exported, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(files_of(exported)) - 1


def test_the_same_checkpoint_gives_the_same_bytes_again(exported, checkpoints, tmp_path):
    export_checkpoint(str(checkpoints["diffusers"]), str(tmp_path / "again" / "model"), accept_unaudited=True)
    assert files_of(exported) == files_of(tmp_path / "again" / "model")


@pytest.mark.parametrize("kind", ["diffusers", "tower", "class"])
@pytest.mark.parametrize("with_bank", [True, False])
def test_the_card_says_what_must_be_said(kind, with_bank, checkpoints, tmp_path):
    export_checkpoint(str(checkpoints[kind]), str(tmp_path / "model"), with_bank=with_bank, accept_unaudited=True)
    card = (tmp_path / "model" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "unknown" and front["library_name"] == "diffusers"
    assert "**Not for clinical use.**" in card and "arXiv 2506.23641" in card and "@misc{huang2025" in card
    assert "| 0 | melanoma | 5 |\n| 1 | a \\| pipe | 4 |" in card
    assert "worded from image analysis (`measured`)" in card
    assert ("**Privacy**" in card) == (with_bank and kind != "class")
    assert (with_bank and kind != "class") == (tmp_path / "model/model/captions.json").exists()
    assert ("transformers.BertModel.from_pretrained('FOLDER')" in card) == (kind == "tower")
    assert "captions do not reach this network" in card or kind != "class"
    assert "before loading, verifies it" in card and "catches accidents, not tampering" in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None and compile(code[1], "card", "exec")
    assert not re.search(r"\n\n\n", card)


def test_the_card_names_attributes_that_were_left_out_as_untrusted(checkpoints, tmp_path):
    checkpoint = make_checkpoint(tmp_path, "captions", untrusted={"shape": "shape (worse than chance)"})
    for path, is_named in ((checkpoint, True), (checkpoints["diffusers"], False)):
        source = open_checkpoint(str(path))
        card = model_card(source, check_audits(str(path), "ema"), "model")
        assert ("untrusted (`caption.trust=audited`) | shape (worse than chance) |" in card) == is_named
        assert ("(caption.trust=audited): shape (worse" in data_card("generated", 2, 9, source.card)) == is_named


def test_every_captioner_and_modality_has_its_words_on_the_card():
    assert CAPTIONERS.keys() == set(get_args(Caption.model_fields["captioner"].annotation))
    assert [modality_name(one, title=True) for one in get_args(Modality)] == [
        "Dermoscopy",
        "Chest X-ray",
        "Colonoscopy",
    ]
    assert modality_name("chest_xray") == "chest X-ray"


def test_the_text_encoder_goes_along_where_it_is_asked_for(checkpoints, tmp_path):
    export_checkpoint(str(checkpoints["tower"]), str(tmp_path / "model"), with_text_encoder=True, accept_unaudited=True)
    index = json.loads((tmp_path / "model" / "model_index.json").read_text())
    assert index["text_encoder"] == ["transformers", "BertModel"]
    taken = load_file(tmp_path / "model" / "text_encoder" / "model.safetensors")
    tower = load_file(checkpoints["tower"].parent / "tower" / "model.safetensors")
    assert taken.keys() == tower.keys() and all(taken[name].equal(tower[name]) for name in tower)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "`text_encoder` and `tokenizer` are under the license of their makers" in card and "FOLDER" not in card


def test_a_text_encoder_that_was_changed_does_not_go_along(checkpoints, tmp_path):
    run = shutil.copytree(checkpoints["tower"].parent, tmp_path / "run")
    tower = checkpoints["tower"].parent / "tower"
    moved = tower.rename(tmp_path / "moved")
    try:
        with pytest.raises(ConfigError, match=r"text_encoder\.model"):
            export_checkpoint(
                str(run / "final"), str(tmp_path / "model"), with_text_encoder=True, accept_unaudited=True
            )
        shutil.copytree(moved, tower)
        (tower / "vocab.txt").write_text("other\n")
        with pytest.raises(CheckpointError, match="trained with the text encoder"):
            export_checkpoint(
                str(run / "final"), str(tmp_path / "model"), with_text_encoder=True, accept_unaudited=True
            )
    finally:
        shutil.rmtree(tower, ignore_errors=True)
        moved.rename(tower)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["ema.safetensors", "checkpoint.json", "bank.parquet", "autoencoder/config.json"])
def test_a_damaged_checkpoint_is_not_exported(name, checkpoints, tmp_path):
    copied = shutil.copytree(checkpoints["diffusers"], tmp_path / "final")
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{name}: expected sha256"):
        export_checkpoint(str(copied), str(tmp_path / "model"), accept_unaudited=True)
    assert not (tmp_path / "model").exists()


def test_a_checkpoint_is_read_from_any_store(checkpoints):
    local = FileStore(str(checkpoints["class"]))
    remote = FileStore("memory://run/final")
    for name, data in files_of(checkpoints["class"]).items():
        remote.write(name, data)
    assert open_checkpoint("memory://run/final").sha256 == open_checkpoint(local.path("")).sha256


def test_the_command_says_what_it_wrote_and_how_it_loads(checkpoints, tmp_path):
    done = CliRunner().invoke(
        app, ["export", str(checkpoints["diffusers"]), str(tmp_path / "model"), "--without-bank", "--accept-unaudited"]
    )
    assert done.exit_code == 0, done.output
    assert f"bytes  {tmp_path}/model/vae/diffusion_pytorch_model.safetensors" in done.output
    assert f"DiffusionPipeline.from_pretrained('{tmp_path}/model', trust_remote_code=True)" in done.output
    assert "Not for clinical use." in done.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{run}", "{out}"], 4, "Did you mean"),
        (["{run}/final", "{out}", "--weights", "best"], 2, "weights = 'best': expected one of ema, raw."),
        (["{run}/final", "{run}"], 2, "not empty, and no export of vapray"),
        (["{out}/none", "{out}"], 4, "no such folder"),
    ],
)
def test_the_command_ends_with_a_code_and_one_message(arguments, code, said, checkpoints, tmp_path):
    places = {"run": checkpoints["class"].parent, "out": tmp_path / "out"}
    done = CliRunner().invoke(app, ["export", *(argument.format(**places) for argument in arguments)])
    assert done.exit_code == code
    assert said in done.output and "Traceback" not in done.output
    assert not (tmp_path / "out").exists()
