"""The exported module computes what vapray computes, and depends on nothing of it."""

import ast
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vapray.bank.hashing_encoder import FUNCTION_WORDS, HashingEncoder
from vapray.diffusion.guidance import Guidance
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.solver import solver_plan
from vapray.export import vap_diffusion
from vapray.models.network_config import UViTConfig
from vapray.models.prototypes import PrototypeOptions
from vapray.models.uvit import build_uvit

NEEDED = {"torch", "numpy", "diffusers", "safetensors", "PIL", *sys.stdlib_module_names}
SIZES = {
    "latent_side": 8, "latent_channels": 4, "patch_size": 2, "width": 16, "depth": 4, "num_heads": 2, "num_classes": 3,
}  # fmt: skip
SWITCHES = {"qk_norm": True, "time_mlp": True, "label_tokens": 3, "mlp": "swiglu"}
# Heads of 8 values, and of 6, of which two do not turn.
ROTATIONS = [{"rope": True, "qk_norm": qk_norm, "width": width} for qk_norm in (False, True) for width in (16, 12)]
INJECTIONS = ("self_attention", "cross_attention", "released")


def test_the_module_has_at_most_450_lines_and_imports_no_vapray():
    source = Path(vap_diffusion.__file__).read_text()
    lines = source.splitlines()
    assert len(lines) <= 450 and max(map(len, lines)) <= 120
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in found]
    assert {name.split(".")[0] for name in names} <= NEEDED


def conditions(**options):
    return [
        PrototypeOptions(injection=one, after=two, **options) for one in INJECTIONS for two in ("encoder", "middle")
    ]


@pytest.mark.parametrize("pcm", [None, *conditions()], ids=lambda pcm: pcm and f"{pcm.injection}-{pcm.after}")
@pytest.mark.parametrize("matched_block", [False, True])
@pytest.mark.parametrize(("context_width", "null_text"), [(None, "learned"), (6, "learned"), (6, "empty")])
@pytest.mark.parametrize("label_token", [True, False])
@pytest.mark.parametrize("switches", [{}, SWITCHES, *ROTATIONS], ids=lambda switches: "-".join(switches) or "none")
def test_the_network_predicts_the_same(pcm, matched_block, context_width, null_text, label_token, switches):
    config = UViTConfig(
        prototypes=pcm, matched_block=matched_block, context_width=context_width, max_context=10,
        label_token=label_token, null_text=null_text, **{**SIZES, **switches},
    )  # fmt: skip
    network = build_uvit(config, seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    weights = {name: torch.randn(w.shape, generator=generator) / 4 for name, w in network.state_dict().items()}
    network.load_state_dict(weights)
    settings = {
        "num_heads": 2, "patch_size": 2, "depth": 4, "rope": config.rope, "class_names": ["a", "b", "c"],
        "condition_after": pcm.after if pcm else "encoder",
    }  # fmt: skip
    noisy = torch.randn(5, 4, 8, 8, generator=generator)
    context = torch.randn(5, 7, context_width or 0, generator=generator)
    for drop in ([0, 0, 0, 0, 0], [0, 1, 0, 1, 1]):
        facts = torch.tensor([[1, 999, 500, 3, 70], [0, 1, 2, 2, 0], [7, 7, 3, 5, 1], drop])
        with torch.no_grad():
            expected = network(noisy, *facts[:2], context, facts[2], facts[3].bool(), reconstruct=False).output_BCHW
            found = vap_diffusion.uvit(weights, settings, noisy, facts, context)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_its_bfloat16_is_ours_to_the_bit():
    network = build_uvit(UViTConfig(context_width=6, max_context=10, prototypes=PrototypeOptions(), **SIZES), seed=0)
    settings = {
        "num_heads": 2, "patch_size": 2, "depth": 4, "rope": False, "class_names": ["a", "b", "c"],
        "condition_after": "encoder",
    }  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    weights = {name: torch.randn(w.shape, generator=generator) / 4 for name, w in network.state_dict().items()}
    network.load_state_dict(weights)
    noisy, context = torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 7, 6, generator=generator)
    facts = torch.tensor([[1, 999, 500], [0, 1, 2], [7, 7, 3], [0, 1, 0]])
    outputs = []
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            ours = network(noisy, *facts[:2], context, facts[2], facts[3].bool(), reconstruct=False).output_BCHW
        with torch.no_grad():
            outputs.append((ours, vap_diffusion.uvit(weights, settings, noisy, facts, context, half)))
    (exact, _), (ours, exported) = outputs
    assert (ours - exact).norm() > 0
    assert torch.equal(exported, ours)


@pytest.mark.parametrize(
    ("schedule", "solver"),
    [*itertools.product(["linear", "scaled_linear", "flow"], ["dpm_solver_2m", "ddim", "heun"])],
)
def test_the_solver_takes_the_same_steps(schedule, solver):
    for count in (1, 2, 3, 20, 99):
        path = "flow" if schedule == "flow" else "vp"
        ours = getattr(NoiseSchedule, schedule)(100)
        expected = solver_plan(ours, solver, count)
        steps, rows = vap_diffusion.solver_plan(vap_diffusion.noise_schedule(path, schedule, 100), solver, count)
        np.testing.assert_array_equal(steps, expected.steps)
        np.testing.assert_array_equal(rows[:, 3:], expected.coefficients)
        np.testing.assert_array_equal(rows[:, :3].T, [ours.signal[steps], ours.sigma[steps], ours.sigma_rate[steps]])


@pytest.mark.parametrize("convention", ["excess", "classifier_free"])
@pytest.mark.parametrize("interval", [None, (10, 50)])
def test_guidance_has_the_same_scale(convention, interval):
    for step in (1, 9, 10, 50, 51):
        expected = Guidance.from_scale(1.5, convention, interval).at(step)
        assert vap_diffusion.guidance_excess(step, 1.5, convention, interval) == expected


@pytest.mark.parametrize("width", [2, 64, 514])
def test_captions_are_hashed_to_the_same_tokens(width):
    texts = [
        "A dark lesion of 35 % at the border",
        "12.5 per cent, 1e9 and 99999999999 mm",
        "ill-defined naïve edges 7%",
    ]
    encoder = HashingEncoder(width, 24)
    for text, expected in zip(texts, encoder.encode(texts), strict=True):
        found = vap_diffusion.hash_text(text, width, 24, sorted(FUNCTION_WORDS)).half().numpy()
        np.testing.assert_array_equal(found, expected)
