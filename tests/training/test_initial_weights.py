"""Laws of starting from weights that exist."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.test_released import weights_of_the_layout
from tests.training.tiny import CLASSES, SPACE, WIDTH, tiny_config, tiny_state
from vapray.errors import CheckpointError, ConfigError
from vapray.models.released_weights import released_uvit
from vapray.training.content_hash import initial_weights_content_hash
from vapray.training.initial_weights import load_initial_weights
from vapray.training.job import TrainingJob
from vapray.training.state import save_weights


def network(*changes: str, seed: int = 0):
    return tiny_state(tiny_config(f"run.seed={seed}", *changes)).model


def saved(tmp_path: Path, model: torch.nn.Module) -> str:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save_weights(model))
    return str(path)


def test_all_weights_of_an_equal_network_are_taken(tmp_path):
    source, target = network(seed=1), network(seed=2)
    assert load_initial_weights(target, saved(tmp_path, source)).endswith("100.0% of the network's values")
    assert save_weights(target) == save_weights(source)


def test_what_does_not_fit_stays_as_drawn_and_is_told(tmp_path):
    source, target, drawn = network("text_encoder.max_tokens=8", seed=1), network(seed=2), network(seed=2)
    assert "as drawn: position" in load_initial_weights(target, saved(tmp_path, source))
    assert torch.equal(target.position, drawn.position)
    assert torch.equal(target.patch_in.weight, source.patch_in.weight)


def test_the_released_codes_weights_are_understood(tmp_path):
    weights = weights_of_the_layout(prototypes=True)
    model = released_uvit(weights, num_heads=4, max_context=16)
    torch.save(weights, tmp_path / "nnet_ema.pth")
    torch.nn.init.zeros_(model.patch_out.weight)
    load_initial_weights(model, str(tmp_path / "nnet_ema.pth"))
    assert torch.equal(model.state_dict()["norm.weight"], weights["norm.weight"]) and model.patch_out.weight.any()


def test_weights_of_another_network_and_damaged_files_are_refused(tmp_path):
    path = saved(tmp_path, network("model.width=32"))
    with pytest.raises(
        CheckpointError, match=r"fits \d+% of the network's values; expected at least 50%\. .* set model"
    ):
        load_initial_weights(network(), path)
    Path(path).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_initial_weights(network(), path)
    with pytest.raises(CheckpointError, match="no such file on this node"):
        load_initial_weights(network(), str(tmp_path / "gone.pth"))


def begun(config, say=print, **changes: Any) -> Any:
    """The network of a run that finds no checkpoint."""
    nothing: Any = None
    given = {"num_classes": CLASSES, "context_width": WIDTH, "space": SPACE, "board": nothing, "validate": None}
    job = TrainingJob(config, nothing, nothing, nothing, **{**given, **changes})
    made = job.network()
    job._fill_initial_weights(made, say)
    return made


def test_a_run_starts_from_what_its_config_names(tmp_path):
    source, heard = network(seed=1), []
    asked = tiny_config("run.seed=2", f"train.init_from={saved(tmp_path, source)}")
    assert save_weights(begun(asked, say=heard.append)) == save_weights(source)
    assert heard == [f"started from {tmp_path}/weights.safetensors: 100.0% of the network's values"]


def test_a_run_shows_dropped_rows_the_encoders_empty_text():
    towers = (
        "text_encoder.encoder=open_clip",
        "text_encoder.model=anywhere",
        "text_encoder.context_length=full",
        "text_encoder.max_tokens=6",
    )
    empty = np.arange(6 * WIDTH, dtype=np.float16).reshape(6, WIDTH)
    made = begun(tiny_config(*towers, "model.null_text=empty"), empty_context=empty)
    assert torch.equal(made.text.empty_context, torch.from_numpy(empty).float())
    assert "text.empty_context" in made.state_dict()
    with pytest.raises(ValueError, match=r"empty text: expected \(6, 8\) tokens and values, got \(5, 8\)"):
        made.text.fill_empty_context(torch.zeros(5, WIDTH))


def test_the_run_depends_on_the_content_of_the_weights_not_on_their_path(tmp_path):
    one, same = saved(tmp_path, network(seed=1)), tmp_path / "elsewhere" / "weights.safetensors"
    same.parent.mkdir()
    shutil.copy(one, same)
    first, moved = (initial_weights_content_hash(tiny_config(f"train.init_from={path}")) for path in (one, same))
    assert first == moved and len(first) == 64
    saved(tmp_path, network(seed=2))
    assert initial_weights_content_hash(tiny_config(f"train.init_from={one}")) != first
    assert initial_weights_content_hash(tiny_config()) == ""
    with pytest.raises(ConfigError, match="no such file"):
        initial_weights_content_hash(tiny_config(f"train.init_from={tmp_path}/gone.pth"))
