"""Traces agree with the tables of the run and with its trained network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.bad_inputs.refusal import CHECKPOINT, DATA, refused
from tests.trace.conftest import SAMPLE
from vapray.caption_audit.claims import claims_of
from vapray.captioning.caption_parser import parse_caption
from vapray.data.dataset import true_attributes
from vapray.data.decode import decode
from vapray.sampling.sampler import Sampler, SamplingSettings
from vapray.store.run_store import Store
from vapray.trace import Trace, trace_image
from vapray.trace.bank_place import BankPlace
from vapray.trace.denoising import Bypassed, Denoising, bypassed_image
from vapray.trace.missing import Missing
from vapray.trace.neighbours import Neighbours
from vapray.trace.prototype_attention import PrototypeAttention, noised_latent, prototype_attention, token_weights
from vapray.trace.statements import CheckedCaption, checked_caption, worded
from vapray.trace.traced_image import find_image
from vapray.trace.traced_run import TracedRun
from vapray.training.network import build_parameterization


@pytest.fixture(scope="module")
def run(root: str) -> TracedRun:
    return TracedRun(root)


def test_statements_are_marked_as_the_audit_judges_them(run: TracedRun) -> None:
    truth = true_attributes(run.config)
    rows = Store(run.root).finished("audit_measurements")[0].read(["image_id", "caption"]).to_pylist()
    assert truth is not None
    verdicts = set()
    for row in rows[:12]:
        checked = checked_caption(run, find_image(run, row["image_id"]))
        assert isinstance(checked, CheckedCaption) and checked.note == ""
        assert "".join(piece.text for piece in checked.segments) == row["caption"]
        claims = list(claims_of(parse_caption(row["caption"], run.prompt_set), truth[row["image_id"]], run.prompt_set))
        wanted = {(claim.attribute, worded(claim.said)): claim.contradicted for claim in claims}
        found = {(one.attribute, one.said): one.verdict for one in checked.statements}
        assert {key: verdict == "contradicted" for key, verdict in found.items()} == wanted
        marked = {piece.verdict for piece in checked.segments if piece.verdict}
        assert ("contradicted" in marked) == any(wanted.values())
        verdicts |= marked
    assert verdicts == {"contradicted", "consistent"}


def test_the_attention_sums_to_one_and_is_that_of_a_direct_forward_pass(run: TracedRun, traced: Trace) -> None:
    attention, sampler, image = traced.attention, run.sampler, traced.image
    assert isinstance(attention, PrototypeAttention) and image.network_pixels is not None
    np.testing.assert_allclose(attention.weights_LP.sum(axis=1), 1, rtol=1e-5)
    caught = {}
    injection = sampler.network.prototypes.injection
    hook = injection.cross_norm.register_forward_hook(lambda _, __, normed: caught.update(normed=normed))
    schedule = build_parameterization(run.config).schedule
    noisy = noised_latent(sampler, image.network_pixels, schedule, attention.step, attention.seed)
    context = torch.from_numpy(sampler.encoder.encode([image.caption])[0].astype(np.float32))
    with torch.no_grad():
        sampler.network(
            noisy[None], torch.tensor([attention.step]), torch.tensor([image.label]), context[None],
            torch.tensor([len(context)]), reconstruct=False,
        )  # fmt: skip
        module, heads = injection.cross_attention, injection.cross_attention.num_heads
        query = module.query_norm(module.query(caught["normed"]))[0]
        key = module.key_norm(
            module.key_value(sampler.network.prototypes.prototypes[image.label]).chunk(2, -1)[0][None]
        )[0]
        q, k = (x.unflatten(1, (heads, -1)).transpose(0, 1) for x in (query, key))
        direct = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).mean(0)
    hook.remove()
    np.testing.assert_allclose(attention.weights_LP, direct.numpy(), atol=1e-6)
    assert attention.weights_LP.shape[0] == len(attention.names) + attention.unnamed + attention.grid**2
    again = token_weights(sampler.network, noisy, attention.step, image.label, context)
    np.testing.assert_array_equal(again.mean(axis=0), attention.weights_LP)


def test_the_strip_ends_with_the_samplers_own_image(run: TracedRun, traced: Trace) -> None:
    made, bypassed, sample = traced.denoising, traced.bypassed, traced.image.sample
    assert isinstance(made, Denoising) and isinstance(bypassed, Bypassed) and sample
    sampler = Sampler.load(run.checkpoint, weights=run.config.sample.weights, sample=run.config.sample)
    settings = SamplingSettings.from_config(run.config)
    for pixels, prototypes in ((made.result, "on"), (bypassed.pixels, "bypassed")):
        (wanted,) = sampler.generate(
            sample["label"], sample["caption"], seed=sample["seed"], settings=replace(settings, prototypes=prototypes)
        )
        np.testing.assert_array_equal(pixels, wanted.pixels)
    assert [one.taken for one in made.strip] == [0, 1, 2, 3]
    assert made.strip[0].noise_share == max(one.noise_share for one in made.strip)
    stored = np.abs(made.result.astype(int) - decode(sample["png"]).astype(int)).max()
    assert made.is_own_seed and made.stored_difference == stored


def test_the_nearest_training_image_is_the_one_that_the_evaluation_found(run: TracedRun, traced: Trace) -> None:
    found = traced.neighbours
    assert isinstance(found, Neighbours)
    rows = [row for version in Store(run.root).finished("nearest_training") for row in version.read().to_pylist()]
    rows += run.store.version("nearest_training", run.versions["measurements"].fingerprint).read().to_pylist()
    row = next(row for row in rows if row["key"] == f"sample/{SAMPLE}")
    assert f"image/{found.found[0].image_id}" == row["feature_neighbour"]
    assert found.found[0].distance == pytest.approx(row["feature_distance"])
    assert found.found[0].relative == pytest.approx(row["feature_distance"] / row["feature_knn_mean"])


def test_a_training_image_has_its_place_in_the_bank_and_is_not_its_own_neighbour(
    run: TracedRun, training_image: str
) -> None:
    traced = trace_image(run.root, training_image)
    bank, neighbours, made = traced.bank, traced.neighbours, traced.denoising
    assert isinstance(bank, BankPlace) and isinstance(neighbours, Neighbours) and isinstance(made, Denoising)
    entries = run.sampler.bank.entries(traced.image.label)
    assert bank.position is not None and entries[bank.position - 1].image_id == training_image
    assert bank.class_captions == len(entries) and bank.same_text >= 1
    assert bank.compared == bank.texts == len({one.caption for one in entries})
    assert training_image not in {one.image_id for one in neighbours.found}
    assert (made.seed, made.is_own_seed, made.stored_difference) == (0, False, None)
    assert traced.image.split == "train" and list(traced.missing()) == []
    assert ("train", "checkpoints") in {(row.stage, row.version.partition("/")[0]) for row in traced.lineage.rows}
    assert any("trained on" in row.subject for row in traced.lineage.rows)
    assert isinstance(trace_image(run.root, training_image, seed=5).denoising, Denoising)


def test_parts_that_a_run_lacks_say_why_and_what_makes_them(without: Callable[..., str]) -> None:
    copy = without("audits", "measurements", "report")
    traced = trace_image(copy, SAMPLE)
    assert isinstance(traced.caption, CheckedCaption) and {one.verdict for one in traced.caption.statements} == {
        "unchecked"
    }
    assert f"no caption audit. Fix: `vapray run audit run.root={copy}`" in traced.caption.note
    assert dict(traced.missing()).keys() == {"neighbours"}
    assert f"no evaluation. Fix: `vapray run evaluate run.root={copy}`" in traced.neighbours.why  # type: ignore[union-attr]


def test_a_network_without_prototypes_has_no_attention_to_them(traced: Trace, root: str) -> None:
    plain = TracedRun(root)
    plain.sampler.network.prototypes = None
    found = prototype_attention(plain, traced.image, 0)
    assert isinstance(found, Missing) and "model.prototypes.enabled=true" in found.why
    bypassed = bypassed_image(plain, traced.image, traced.denoising)
    assert isinstance(bypassed, Missing) and "no prototypes to bypass" in bypassed.why


def test_an_image_without_a_caption_leaves_out_what_needs_one(run: TracedRun, traced: Trace) -> None:
    bare = replace(traced.image, caption="", captioned=None, sample=None, reject="refusal: I cannot help")
    for found in (checked_caption(run, bare), prototype_attention(run, bare, 0)):
        assert isinstance(found, Missing) and "no caption" in found.why


def test_an_unknown_image_is_answered_with_ids_that_exist(root: str, traced: Trace) -> None:
    text = refused(DATA, lambda: trace_image(root, "nothing like it"), "no image 'nothing like it'", "Fix: give an id")
    assert "(train)" in text and "generated-000000 (generated)" in text
    near = refused(DATA, lambda: trace_image(root, "generated-00003"), "such as")
    assert SAMPLE in near


def test_a_run_without_a_trained_model_is_refused(without: Callable[..., str], tmp_path: Path) -> None:
    copy = without("checkpoints", "samples", "measurements", "report")
    refused(DATA, lambda: trace_image(copy, SAMPLE), "no trained model, so the run is not finished", "Fix: run `vapray")
    refused(DATA, lambda: trace_image(str(tmp_path / "nowhere"), SAMPLE), "nowhere: no trained model")


def test_samples_whose_checkpoint_is_gone_are_refused(without: Callable[..., str]) -> None:
    refused(DATA, lambda: trace_image(without("checkpoints"), SAMPLE), "checkpoint that generated its samples is gone")


def test_a_damaged_checkpoint_is_named(without: Callable[..., str]) -> None:
    copy = without("report")
    weights = next(Path(copy).glob("checkpoints/*/files/final/ema.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    refused(CHECKPOINT, lambda: trace_image(copy, SAMPLE), "ema.safetensors")
