"""Forecasts of a dry run: sizes of the networks that are built, memory, files, work that is left, time."""

import pytest

from tests.store.test_version import rows
from vapray.config import Config
from vapray.latents.forecast import autoencoder_size
from vapray.models.network_cost import network_cost
from vapray.pipeline.dry_run import _committed_keys
from vapray.pipeline.dry_run_table import in_time
from vapray.runtime.forecast import Forecast, ForecastInputs, Images, calibrated, remaining
from vapray.store.run_store import Store
from vapray.store.version import Manifest, Part
from vapray.training.forecast import committed_rows
from vapray.training.forecast import forecast as train_forecast

ARCHITECTURES = [
    ({}, 5),
    (
        {
            "model": {"width": 96, "depth": 6, "num_heads": 4, "prototypes": {"enabled": False}},
            "text_encoder": {"width": 32},
        },
        7,
    ),
    ({"autoencoder": {"kind": "pixels"}, "model": {"patch_size": 4, "prototypes": {"per_class": 3}}}, 3),
]


@pytest.mark.parametrize(("tree", "num_classes"), ARCHITECTURES)
def test_the_size_of_the_network_is_that_of_the_built_one(tree, num_classes):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vapray.training.network import build_network

    config = Config.model_validate(tree)
    channels = 3 if config.autoencoder.kind == "pixels" else config.autoencoder.channels
    width, side = config.text_encoder.width, config.latent_side
    network = build_network(config, num_classes=num_classes, latent_channels=channels, context_width=width)
    size = network_cost(config, num_classes)
    assert size.parameters == sum(weight.numel() for weight in network.parameters())
    one = torch.ones(1, dtype=torch.int64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, channels, side, side), one, one, torch.zeros(1, 16, width), 16 * one)
    assert size.flops == pytest.approx(counter.get_total_flops(), rel=0.3)


@pytest.mark.parametrize(("factor", "width", "side"), [(4, 8, 32), (8, 16, 64), (2, 16, 16)])
def test_the_size_of_the_autoencoder_is_that_of_the_built_one(factor, width, side):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vapray.latents.kl_network import build_autoencoder

    tree = {"data": {"image_size": side}, "autoencoder": {"factor": factor, "width": width}}
    size = autoencoder_size(Config.model_validate(tree))
    network = build_autoencoder(4, factor, width, side, seed=0)
    assert size.parameters == sum(weight.numel() for weight in network.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as encoding:
        network.encode(torch.zeros(1, 3, side, side))
    with torch.no_grad(), FlopCounterMode(display=False) as decoding:
        network.decode(torch.zeros(1, 4, side // factor, side // factor))
    assert (size.encoder_flops, size.decoder_flops) == (encoding.get_total_flops(), decoding.get_total_flops())


def test_the_activations_of_training_are_within_a_factor_of_2():
    """Counted by autograd itself: every tensor that the backward pass keeps, each storage once, weights left out."""
    import torch

    from vapray.training.network import build_network

    config = Config.model_validate({"model": {"width": 64, "depth": 6}, "data": {"image_size": 64}})
    network = build_network(config, num_classes=5, latent_channels=4, context_width=64)
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    batch, labels = 8, torch.arange(8) % 5
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        lengths = torch.full((batch,), 16)
        network(torch.zeros(batch, 4, 16, 16), labels + 1, labels, torch.zeros(batch, 16, 64), lengths)
    measured = sum(kept.values())
    assert measured / 2 < 4 * batch * network_cost(config, 5).kept_values < measured * 2


def test_memory_grows_with_the_share_of_a_worker():
    def peak(**train: int | str) -> float:
        config = Config.model_validate({"train": train})
        return train_forecast(ForecastInputs(config, Images({"train": 100}, 5, 1e4), {})).peak_bytes

    assert peak(batch_size=64, workers=2) < peak(batch_size=64, workers=1) < peak(batch_size=128, workers=1)
    assert peak(workers=4, sharding="fsdp") < peak(workers=2, sharding="fsdp") < peak(workers=2)
    assert peak(workers=1, sharding="fsdp") == peak(workers=1)


def test_the_best_average_is_kept_where_there_is_validation():
    def written(validate_every: int, validation: int) -> float:
        config = Config.model_validate({"train": {"validate_every": validate_every}})
        images = Images({"train": 100, "validation": validation}, 5, 1e4)
        return train_forecast(ForecastInputs(config, images, {})).file_bytes

    config = Config()
    states = min(config.train.keep_checkpoints, -(-config.train.steps // config.train.checkpoint_every))
    assert written(0, 50) == written(250, 0)
    assert written(250, 50) - written(0, 50) == 4 * states * network_cost(config, 5).parameters


def test_a_damaged_part_is_to_be_done_again(tmp_path):
    version = Store(str(tmp_path)).version("images", "v")
    damaged = version.write_part(rows("a", "b"))
    version.write_part(rows("c"))
    assert _committed_keys(version) == 3
    version.files.write(f"{version.folder}/parts/{damaged.name}", b"half")
    assert _committed_keys(version) == 1


def test_a_training_state_counts_when_its_manifest_is_written(tmp_path):
    version = Store(str(tmp_path)).version("checkpoints", "v")
    for step in (10, 20):
        version.files.write(f"{version.folder}/files/steps/step-{step:08d}/raw.safetensors", b"weights")
    assert committed_rows(version, Config()) == 0
    version.files.write(f"{version.folder}/files/steps/step-00000010/manifest.json", b"{}")
    assert committed_rows(version, Config()) == 10 * Config().train.batch_size


def finished(rows: int, seconds: float) -> Manifest:
    return Manifest("caption", "f", {}, {}, (Part("p", "", 100 * rows, rows, 0),), rows, 0, seconds, 0.0)


def test_an_earlier_run_sets_the_rate_unless_it_was_all_start():
    laptop = Forecast(1000, 50_000, 0, startup_seconds=5, work_seconds=100, peak_bytes=0)
    fast = calibrated(laptop, laptop, finished(500, 30))
    assert fast.seconds == pytest.approx(5 + 2 * 25)
    assert fast.part_bytes == pytest.approx(100 * 1000)
    assert fast.basis == "last run"
    short = calibrated(laptop, laptop, finished(10, 9))
    assert short.seconds == pytest.approx(9 + 99)
    assert short.basis == "laptop"
    twice_the_work = Forecast(1000, 50_000, 0, startup_seconds=5, work_seconds=200, peak_bytes=0)
    assert calibrated(twice_the_work, laptop, finished(500, 30)).seconds == pytest.approx(5 + 4 * 25)


def test_what_is_done_is_not_paid_again():
    whole = Forecast(1000, 500, 100, startup_seconds=5, work_seconds=100, peak_bytes=0)
    left = remaining(whole, 750)
    assert (left.rows, left.seconds, left.bytes_written) == (1000, 30, 150)


def test_times_are_said_in_two_units():
    said = [in_time(seconds) for seconds in (0.2, 59, 61, 3600, 3 * 3600 + 59, 90_000, 400 * 86400)]
    assert said == ["1 s", "59 s", "1 min 1 s", "1 h", "3 h 1 min", "1 day 1 h", "1 year 35 days"]
