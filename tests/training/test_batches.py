"""A batch is what its step says, however it is padded and cut."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.training.tiny import SPACE, tiny_config, tiny_rows, tiny_state
from vapray.diffusion.objective import denoising_loss
from vapray.models.text_tokens import TextShape
from vapray.training.batches import Batch, Batches
from vapray.training.dataset import TrainingRows
from vapray.training.network import build_parameterization
from vapray.training.rows_file import RowsFile, preallocate

DROPS = ("train.condition_dropout=0.4", "train.batch_size=14")


def batch_of(*overrides: str, step: int = 3) -> Batch:
    return Batches(tiny_config(*overrides), tiny_rows(), SPACE, rank=0, world=1).at(step)


def awake_network():
    """One whose prototypes take part."""
    network = tiny_state(tiny_config()).model
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)), alpha=0.05)
    return network


def losses(network, batch: Batch):
    tensors = batch.to(torch.device("cpu"))
    return denoising_loss(network, build_parameterization(tiny_config()), *tensors, batch.draws, 0.1, batch.balancing)


def gradients(network, batches: list[Batch]) -> list[torch.Tensor]:
    network.zero_grad()
    for batch in batches:
        (batch.share * losses(network, batch).total).backward()
    return [weight.grad.clone() for weight in network.parameters()]


@pytest.mark.parametrize("count", [1, 3, 14, 99])
def test_micro_batches_hold_each_row_once_by_length(count):
    batch = batch_of(*DROPS)
    parts = batch.split(count)
    assert len(parts) == min(count, 14)
    assert {len(part.label_B) for part in parts} <= {14 // len(parts), -(-14 // len(parts))}
    lengths = torch.cat([part.context_length_B for part in parts])
    assert lengths.tolist() == sorted(batch.context_length_B.tolist())
    assert [part.context_BLD.shape[1] for part in parts] == [int(part.context_length_B.max()) for part in parts]
    rows = torch.cat([part.draws.noise for part in parts]).flatten(1).tolist()
    assert sorted(rows) == sorted(batch.draws.noise.flatten(1).tolist())
    assert sum(part.share for part in parts) == pytest.approx(1)


def test_rows_stay_together_when_a_batch_is_split():
    batch = batch_of("train.batch_size=14", "train.cbdm_weight=0.001")
    for part in batch.split(4):
        for place, noise in enumerate(part.draws.noise):
            (row,) = [row for row, other in enumerate(batch.draws.noise) if torch.equal(noise, other)]
            length = int(part.context_length_B[place])
            assert length == batch.context_length_B[row]
            assert torch.equal(part.context_BLD[place, :length], batch.context_BLD[row, :length])
            assert torch.equal(part.clean_BCHW[place], batch.clean_BCHW[row])
            assert part.label_B[place] == batch.label_B[row]
            assert part.draws.step_B[place] == batch.draws.step_B[row]
            assert part.balancing.other_label_B[place] == batch.balancing.other_label_B[row]


def test_contexts_can_be_padded_to_few_lengths():
    parts = batch_of("train.batch_size=14").split(7, multiple=3, most=4)
    assert {part.context_BLD.shape[1] for part in parts} == {3, 4}
    for part in parts:
        padding = torch.arange(part.context_BLD.shape[1]) >= part.context_length_B[:, None]
        assert not part.context_BLD[padding].any()


@pytest.mark.parametrize("multiple", [1, 8])
def test_gradients_of_micro_batches_add_up_to_those_of_the_batch(multiple):
    network, batch = awake_network(), batch_of(*DROPS, "train.cbdm_weight=0.001")
    whole = gradients(network, [batch])
    assert max(float(gradient.abs().max()) for gradient in whole) > 1e-2
    for added, gradient in zip(gradients(network, batch.split(4, multiple=multiple)), whole, strict=True):
        torch.testing.assert_close(added, gradient, atol=1e-6, rtol=1e-4)


def test_the_loss_of_a_row_does_not_depend_on_the_lengths_of_its_neighbours():
    network, batch = awake_network(), batch_of(*DROPS)
    assert len(batch.context_length_B.unique()) > 2
    by_length = batch.context_length_B.argsort(stable=True)
    schedule = build_parameterization(tiny_config()).schedule
    noisy = schedule.add_noise(batch.clean_BCHW, batch.draws.noise, batch.draws.step_B)
    together = network(noisy, batch.draws.step_B, *batch.to(torch.device("cpu"))[1:], batch.draws.drop_B)
    error_B = (together.output_BCHW - batch.draws.noise).square().mean((1, 2, 3))
    for alone, row in zip(batch.split(14), by_length, strict=True):
        found = losses(network, alone)
        assert abs(found.denoising - error_B[row]) < 1e-5
        assert abs(found.reconstruction - together.reconstruction_B[row]) < 1e-5


def test_the_text_of_a_dropped_row_is_left_out_and_changes_nothing():
    network, batch, rows = awake_network(), batch_of(*DROPS), tiny_rows()
    drop = batch.draws.drop_B
    assert 0 < int(drop.sum()) < len(drop)
    assert int(batch.context_length_B[drop].max()) == 1
    tokens = np.full_like(rows.tokens, np.nan)
    context = batch.context_BLD.clone()
    context[drop] = torch.from_numpy(tokens[: context.shape[1]])
    length = batch.context_length_B.masked_fill(drop, context.shape[1])
    shape = TextShape.of(length, drop)
    full = Batch(batch.clean_BCHW, batch.label_B, context, length, shape, batch.draws, None)
    assert torch.equal(losses(network, full).total, losses(network, batch).total)


@pytest.mark.parametrize("captions", [(19, 0, 7, 7), (0, 0, 3, 19)])
def test_what_is_read_is_what_was_asked_for(captions, tmp_path):
    in_memory = tiny_rows()
    asked, sides, captions = np.array([19, 0, 7, 7]), np.array([1, 0, 0, 1]), np.array(captions)
    for rows in (in_memory, mapped(in_memory, tmp_path / "rows.arrow")):
        for lengths in (rows.lengths(captions), np.minimum(rows.lengths(captions), [9, 1, 0, 2])):
            moments, context = rows.read(asked, sides, captions, lengths)
            np.testing.assert_array_equal(moments, in_memory.moments[asked, sides])
            assert context.shape == (4, lengths.max(), rows.tokens.shape[1])
            for row, length, found in zip(captions, lengths, context.numpy(), strict=True):
                np.testing.assert_array_equal(found[:length], in_memory.tokens[rows.offsets[row] :][:length])
                assert not found[length:].any()


def test_shuffled_captions_change_captions_alone():
    all_rows = ("train.batch_size=20", "train.condition_dropout=0")
    own, shuffled = batch_of(*all_rows), batch_of(*all_rows, "train.caption_shuffle_fraction=1")
    assert torch.equal(own.clean_BCHW, shuffled.clean_BCHW)
    assert torch.equal(own.label_B, shuffled.label_B)
    assert torch.equal(own.draws.noise, shuffled.draws.noise)
    ours, others = captions_of(own), captions_of(shuffled)
    assert all(mine != other for mine, other in zip(ours, others, strict=True))
    labels = own.label_B.tolist()
    assert sorted(zip(labels, ours, strict=True)) == sorted(zip(labels, others, strict=True))


def captions_of(batch: Batch) -> list[list[list[float]]]:
    """Without padding."""
    return [batch.context_BLD[row, : batch.context_length_B[row]].tolist() for row in range(len(batch.label_B))]


def mapped(rows: TrainingRows, path: Path) -> TrainingRows:
    ids = pa.array([f"i{row:02d}" for row in range(len(rows))])
    preallocate(path, ids, rows.labels, rows.labels, rows.offsets, rows.moments.shape[2:], rows.tokens.shape[1])
    file = RowsFile(path, writable=True)
    file.moments[:], file.tokens[:] = rows.moments, rows.tokens
    file.sync()
    return TrainingRows.open(path)


def test_rows_without_any_text_have_contexts_of_no_tokens(tmp_path):
    some = tiny_rows(2)
    silent = mapped(TrainingRows(some.labels, some.moments, some.tokens[:0], some.offsets * 0), tmp_path / "rows.arrow")
    both = np.array([0, 1])
    moments, context = silent.read(both, both, both, silent.lengths(both))
    np.testing.assert_array_equal(moments, some.moments[both, both])
    assert context.shape == (2, 0, some.tokens.shape[1])


def test_an_image_whose_caption_names_a_side_is_never_mirrored():
    rows = tiny_rows()
    moments = np.zeros_like(rows.moments)
    moments[:, 1, :2], moments[:, :, 2:] = 9, -30  # a mirror image is told by its mean, without noise
    sided = (rows.labels == 0).astype(np.uint8)
    batches = Batches(tiny_config(), replace(rows, moments=moments, sided=sided), SPACE, rank=0, world=1)
    for step in range(8):
        batch = batches.at(step)
        straight = SPACE.normalize(torch.zeros(1, 2, 4, 4))
        mirrored = (batch.clean_BCHW - straight).abs().flatten(1).amax(1) > 1e-3
        assert torch.equal(mirrored, batch.draws.flip_B & (batch.label_B != 0))


def test_an_image_takes_all_eight_views_of_the_square_but_not_against_its_caption():
    rows = tiny_rows()
    moments = np.full_like(rows.moments, -30)
    corner = np.arange(16).reshape(4, 4)  # no symmetry
    moments[:, 0, :2], moments[:, 1, :2] = corner, corner[:, ::-1]
    sided = np.where(rows.labels == 0, 2, 0).astype(np.uint8)
    config = tiny_config("train.quarter_turns=true", "autoencoder.kind=pixels")
    batches = Batches(config, replace(rows, moments=moments, sided=sided), SPACE, rank=0, world=1)
    views = {0: set(), 1: set(), 2: set()}
    for step in range(40):
        batch = batches.at(step)
        for label, image in zip(batch.label_B.tolist(), batch.clean_BCHW, strict=True):
            views[label].add(tuple(image[0].flatten().argsort().tolist()))
    assert {label: len(seen) for label, seen in views.items()} == {0: 2, 1: 8, 2: 8}
