"""Bad settings: all of them told at once, by key and place, before anything starts."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vapray.config import Config
from vapray.config.loader import load_config
from vapray.errors import ConfigError

from .refusal import CONFIG, refused

WHOLE = "expected a whole number"
OVERRIDES = {
    "misspelt key": ("sample.guidance_scle=2", "unknown key sample.guidance_scle. Did you mean guidance_scale?"),
    "key unlike any other": ("q=1", "unknown key q. Known: run, cluster, pools"),
    "nan": ("train.learning_rate=.nan", "train.learning_rate = nan: expected a number, above 0"),
    "infinite": ("train.learning_rate=.inf", "train.learning_rate = inf: expected a number, above 0"),
    "negative": ("train.learning_rate=-1", "train.learning_rate = -1: expected a number, above 0"),
    "1e-4 as a text": ("train.learning_rate='1e-4'", "train.learning_rate = '1e-4': expected a number, above 0"),
    "integer as a text": ("data.image_size='32'", f"data.image_size = '32': {WHOLE}, at least 8"),
    "integer as a truth": ("train.steps=true", f"train.steps = true: {WHOLE}, at least 1"),
    "optional integer": ("cluster.num_cpus='2'", f"cluster.num_cpus = '2': {WHOLE}, at least 1, or null"),
    "too large": ("run.seed=99999999999999999999999", f"{WHOLE}, at least 0 and below 9223372036854775808"),
    "multiple": ("autoencoder.width=12", f"autoencoder.width = 12: {WHOLE}, at least 8 and a multiple of 8"),
    "nothing": ("train.steps=", f"train.steps = nothing: {WHOLE}, at least 1"),
    "enumeration": ("sample.solver=euler", "sample.solver = 'euler': expected one of dpm_solver_2m, ddim"),
    "number of an enumeration": ("autoencoder.factor=3", "autoencoder.factor = 3: expected one of 2, 4, 8"),
    "unknown encoder": (
        "text_encoder.encoder=clip",
        "text_encoder.encoder = 'clip': expected one of hashing, open_clip, transformers",
    ),
    "features without weights": (
        "evaluate.features=vgg16",
        "evaluate.features = vgg16: needs evaluate.weights, a weights file",
    ),
    "weights of nothing": ("evaluate.weights=w.pth", "evaluate.features = random_convolutions does not read it"),
    "pixels of nothing": ("evaluate.preprocessing=caffe", "evaluate.preprocessing = caffe: evaluate.features ="),
    "encoder without a model": (
        "text_encoder.encoder=open_clip",
        "text_encoder.encoder = open_clip: needs text_encoder.model, a directory or",
    ),
    "model without an encoder": (
        "text_encoder.model=x",
        "text_encoder.model = x: hashing does not read it. Fix: set text_encoder.encoder",
    ),
    "padding without a model": (
        "text_encoder.context_length=full",
        "text_encoder.context_length = full: hashing does not read it",
    ),
    "unknown captioner": (
        "caption.captioner=blip",
        "caption.captioner = 'blip': expected one of measured, precomputed, ground_truth, vllm, openai",
    ),
    "list": ("train.betas=[1, 1]", "train.betas = [1, 1]: expected a list of 2, each a number, at least 0 and below 1"),
    "short list": ("train.betas=[0.9]", "train.betas = [0.9]: expected a list of 2"),
    "value for a section": ("train=5", "train = 5: expected keys below it, such as train.steps"),
    "section for a value": ("train.steps.x=1", f"train.steps = {{'x': 1}}: {WHOLE}"),
    "no number": (
        "run.seed=0b_",
        "base 2: ''). Fix: put text in quotes.",
    ),
    "number for a text": ("run.root=2024", "run.root = 2024: expected text. Fix: put it in quotes."),
    "long value": (f"run.seed={'z' * 300}", f"run.seed = '{'z' * 79}...: {WHOLE}"),
    "image and factor": (
        "data.image_size=30",
        "not divisible by autoencoder.factor 4. Nearest valid values: 28 and 32",
    ),
    "image and patch": (
        "model.patch_size=3",
        "makes latents of side 8, not divisible by model.patch_size 3. Nearest valid values: 24 and 36",
    ),
    "batch and workers": (
        "train.batch_size=63",
        "train.batch_size = 63: not divisible by train.workers 2. Nearest valid values: 62 and 64",
    ),
    "width and heads": (
        "model.num_heads=3",
        "model.width = 64: not divisible by model.num_heads 3. Nearest valid values: 60",
    ),
    "fewest workers": (
        "train.min_workers=3",
        "train.min_workers = 3: must be at most train.workers 2. Fix: lower it, or raise train.workers.",
    ),
    "pool": ("pools.caption.min_size=5", "pools.caption.min_size = 5: must be at most pools.caption.max_size 2"),
    "guidance interval": ("sample.guidance_interval=[800, 200]", "= [800, 200]: expected [first, last]"),
    "one repeat": (
        "caption_audit.repeats=1",
        "caption_audit.repeats = 1: captions are compared with each other, which takes two",
    ),
    "repeats without a draw": (
        "caption_audit.temperature=0",
        "caption_audit.temperature = 0: every seed gives the same caption",
    ),
    "solver steps": ("sample.num_inference_steps=5000", "= 5000: must be below diffusion.steps 1000"),
    "shares": ("data.test_share=0.95", "0.1 and 0.95 leave no training images. Their sum must be below 1"),
    "no dataset folder": ("data.source=isic2018", "data.source = isic2018: needs data.root, the dataset's folder"),
    "omission that is no list": ("caption.omit=3", "caption.omit = 3: expected a list, each text"),
    "engine arguments without names": ("vllm.engine_args=3", "vllm.engine_args = 3: expected keys of your own."),
    "no model": ("caption.captioner=vllm", "needs caption.model, a hub id or a folder"),
    "another source's option": (
        "data.no_finding=true",
        "data.no_finding = True: only data.source=chestxray14 reads it",
    ),
    "no given captions": ("caption.captioner=precomputed", "data.source = phantom has no captions of its own"),
    "captions without a captioner": (
        "caption.temperature=0.5",
        "caption.temperature = 0.5: the default captioner, measured, does not read it. Fix: set "
        "caption.captioner=vllm or caption.captioner=openai.",
    ),
    "engine without a captioner": (
        "vllm.dtype=float16",
        "vllm.dtype = float16: the default captioner, measured, does not read it. Fix: set caption.captioner=vllm.",
    ),
    "prompted strategy": (
        "caption.strategy=direct",
        "caption.strategy = direct: the measured captioner runs vaps only",
    ),
    "measured captions of another modality": (
        "data.modality=chest_xray",
        "caption.captioner = measured: measured captions exist for dermoscopy only (data.modality = chest_xray). Fix: "
        "set caption.captioner to ground_truth, vllm, openai or precomputed.",
    ),
    "unknown prompt set": ("caption.prompt_set=mri", "expected one of dermoscopy, chest_xray, colonoscopy, or a path"),
    "prompt set not there": ("caption.prompt_set=mri.yaml", "caption.prompt_set = mri.yaml: no such file"),
    "no equals sign": (
        "train.steps",
        "'train.steps' is not a setting. Write section.key=value, such as",
    ),
    "no key": ("=3", "'=3' is not a setting. Write section.key=value"),
    "open bracket": ("train.betas=[1,", "'train.betas=[1,', line 1, column 4: not YAML"),
    "tag": ("train.steps=!!python/name:os.system", "the tag !!python/name:os.system is not accepted"),
}


@pytest.mark.parametrize(("override", "words"), OVERRIDES.values(), ids=OVERRIDES)
def test_an_override_that_cannot_be(override: str, words: str) -> None:
    assert refused(CONFIG, lambda: load_config(None, [override]), words).startswith("command line")


def test_settings_that_only_together_cannot_be() -> None:
    three = ["train.sharding=fsdp", "train.compile=true", "train.activation_checkpointing=true"]
    for left_out in three:
        load_config(None, [override for override in three if override != left_out])
    refused(CONFIG, lambda: load_config(None, three), "set train.activation_checkpointing or train.compile to false")


def test_all_problems_are_told_at_once_and_each_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("train: {steps: abc}\nsample:\n  solver: euler\n  n_image: 3\n")
    overrides = ["data.image_size=30", "steps", "train.betas=[1,", "caption.captioner=precomputed"]
    overrides += ["caption.captions_file=gone.csv", "model.patch_size=0"]
    refused(
        CONFIG,
        lambda: load_config(path, overrides),
        "7 problems",
        f"{path}, line 1: train.steps = 'abc'",
        f"{path}, line 3: sample.solver = 'euler'",
        f"{path}, line 4: unknown key sample.n_image. Did you mean n_images?",
        "command line: 'steps' is not a setting",
        "command line, 'train.betas=[1,'",
        "command line: caption.captions_file = gone.csv",
        "command line: model.patch_size = 0",
    )
    overrides = ["data.image_size=30", "train.batch_size=63", "train.lr_schedule=step"]
    refused(
        CONFIG,
        lambda: load_config(None, overrides),
        "3 problems",
        "image_size = 30",
        "batch_size = 63",
        "train.lr_schedule",
    )


def test_a_default_in_place_of_a_wrong_value_contradicts_nobody() -> None:
    text = refused(
        CONFIG, lambda: load_config(None, ["train.batch_size=many", "train.workers=3"]), "train.batch_size = 'many'"
    )
    assert "divisible" not in text


def test_an_output_that_is_a_file_or_lies_below_one(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    for root in (tmp_path / "taken", tmp_path / "taken" / "below"):
        refused(
            CONFIG,
            lambda root=root: load_config(None, [f"run.root={root}"]),
            f"{tmp_path / 'taken'} is a file, expected a folder",
        )


def test_an_output_that_is_read_only_leaves_no_trace(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.geteuid() == 0:  # whom no mode stops
        locked = Path("/sys")
        if not locked.is_dir():
            pytest.skip("no folder here that root cannot write to")
    refused(CONFIG, lambda: load_config(None, [f"run.root={locked / 'run'}"]), f"{locked} cannot be written to")
    root = tmp_path / "free" / "run"
    assert load_config(None, [f"run.root={root}"]).run.root == str(root)
    assert [path.name for path in tmp_path.iterdir()] == ["locked"]


KEYS = st.sampled_from(
    ["train", "steps", "data", "image_size", "betas", "model", "width", "", "x", "caption", "prompt_set"]
)
VALUES = st.one_of(
    st.text(max_size=8), st.integers().map(str), st.sampled_from(["[1, 2]", "{a: 1}", ".nan", "~", "30"])
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.builds(lambda path, value: f"{'.'.join(path)}={value}", st.lists(KEYS, max_size=3), VALUES), max_size=4)
)
def test_whatever_is_written_is_a_configuration_or_one_refusal(overrides: list[str]) -> None:
    with suppress(ConfigError):
        assert isinstance(load_config(None, overrides), Config)
