"""Conflicts between settings that are each valid on their own."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vapray.config.autoencoder_misfits import find_autoencoder_misfits
from vapray.config.caption_misfits import find_caption_misfits
from vapray.config.downstream_misfits import find_downstream_misfits
from vapray.config.evaluation_misfits import find_evaluation_misfits
from vapray.config.misfit import Misfit

if TYPE_CHECKING:
    from vapray.config import Config

__all__ = ["find_misfits"]

UNET_STEP = 4
"""Factor by which the U-Net reduces a side: two halvings between its three resolutions."""
RAYS_OWN = frozenset({"CPU", "GPU", "memory", "object_store_memory", ""})
"""Resource names that Ray takes by other settings or does not accept as custom resources."""


def find_misfits(config: "Config") -> Iterator[Misfit]:
    """Find every pair of settings that cannot work together."""
    yield from _sizes(config)
    yield from _counts(config)
    yield from _roles(config)
    yield from _places(config)
    yield from find_caption_misfits(config)
    yield from _encoder(config)
    yield from _baselines(config)
    yield from _audit(config)
    yield from _bank_of_samples(config)
    yield from find_autoencoder_misfits(config)
    yield from find_downstream_misfits(config)
    yield from find_evaluation_misfits(config)


def _bank_of_samples(config: "Config") -> Iterator[Misfit]:
    if config.sample.bank_classes and not config.sample.bank:
        text = "sample.bank_classes: names classes of another run's bank, but sample.bank is not set. Fix: set it."
        yield Misfit(("sample.bank_classes", "sample.bank"), text)


def _sizes(config: "Config") -> Iterator[Misfit]:
    size, factor, patch = config.data.image_size, config.autoencoder.factor, config.model.patch_size
    step = 1 if config.autoencoder.kind == "pixels" else factor
    if size % step:
        yield _not_divisible("data.image_size", size, "autoencoder.factor", factor, step)
    elif config.latent_side % patch:
        keys = ("data.image_size", "model.patch_size", "autoencoder.factor", "autoencoder.kind")
        made = f"makes latents of side {config.latent_side}, not divisible by model.patch_size {patch}"
        yield Misfit(keys, f"data.image_size = {size}: {made}. {_near(size, step * patch)}")
    if config.model.network == "unet" and config.latent_side % UNET_STEP:
        made = f"makes latents of side {config.latent_side}; model.network=unet halves it twice"
        text = f"data.image_size = {size}: {made}. {_near(size, step * UNET_STEP)}"
        yield Misfit(("data.image_size", "model.network"), text)
    width, heads = config.model.width, config.model.num_heads
    if width % heads:
        yield _not_divisible("model.width", width, "model.num_heads", heads, math.lcm(2, heads))


def _counts(config: "Config") -> Iterator[Misfit]:
    batch, workers = config.train.batch_size, config.train.workers
    if batch % workers:
        yield _not_divisible("train.batch_size", batch, "train.workers", workers, workers)
    if config.train.min_workers > workers:
        yield _not_below("train.min_workers", config.train.min_workers, "at most", "train.workers", workers)
    for name, pool in config.pools:
        if pool.min_size > pool.max_size:
            smaller, larger = f"pools.{name}.min_size", f"pools.{name}.max_size"
            yield _not_below(smaller, pool.min_size, "at most", larger, pool.max_size)
    if (parts := config.train.accumulate_steps) > batch // workers:
        text = f"train.accumulate_steps = {parts}: a worker's share of a batch is {batch // workers} rows. Lower it."
        yield Misfit(("train.accumulate_steps", "train.batch_size", "train.workers"), text)
    if config.train.sharding == "fsdp" and config.train.compile and config.train.recompute:
        text = (  # https://github.com/pytorch/pytorch/issues/166926
            "train.recompute = true: with train.sharding=fsdp and train.compile=true a different compiled graph may "
            "recompute the activations, which stops training. Fix: set train.recompute or train.compile to false."
        )
        yield Misfit(("train.recompute", "train.compile", "train.sharding"), text)
    evaluations, steps = config.sample.num_inference_steps, config.diffusion.steps
    if evaluations >= steps:
        yield _not_below("sample.num_inference_steps", evaluations, "below", "diffusion.steps", steps)
    interval = config.sample.guidance_interval
    if interval and interval[0] > interval[1]:
        text = f"sample.guidance_interval = {list(interval)}: expected [first, last] diffusion step, first <= last."
        yield Misfit(("sample.guidance_interval",), text)
    held_out = config.data.validation_share, config.data.test_share
    if sum(held_out) >= 1:
        keys = ("data.validation_share", "data.test_share")
        text = f"{held_out[0]:g} and {held_out[1]:g} leave no training images. Their sum must be below 1."
        yield Misfit(keys, f"{keys[0]} and {keys[1]}: {text}")


def _roles(config: "Config") -> Iterator[Misfit]:
    asked = {f"pools.{name}.resources": pool.resources for name, pool in config.pools}
    for key, resources in {**asked, "train.resources_per_worker": config.train.resources_per_worker}.items():
        for name in sorted(RAYS_OWN & {*resources}):
            instead = "train.use_gpu" if key.startswith("train") else key.replace("resources", "num_cpus or num_gpus")
            text = f"{key} = {name or 'nothing'}: expected a custom resource, such as caption. Or set {instead}."
            yield Misfit((key,), text)


def _places(config: "Config") -> Iterator[Misfit]:
    data = config.data
    if data.source != "phantom" and not data.root:
        text = f"data.source = {data.source}: needs data.root, the dataset's folder. Fix: add data.root=FOLDER."
        yield Misfit(("data.source", "data.root"), text)
    for key, source in (("no_finding", "chestxray14"), ("labels", "colonoscopy")):
        if getattr(data, key) and data.source != source:
            text = f"data.{key} = {getattr(data, key)}: only data.source={source} reads it. Fix: remove it."
            yield Misfit((f"data.{key}", "data.source"), text)
    if data.root and "://" in data.root:
        text = f"data.root = {data.root}: expected a folder that every node can read; only run.root may be a URI."
        yield Misfit(("data.root",), text)
    if data.source == "phantom" and not data.root and "://" in config.run.root:
        text = f"run.root = {config.run.root}: phantoms are drawn into a local folder. Fix: add data.root=FOLDER."
        yield Misfit(("data.root", "run.root"), text)


def _encoder(config: "Config") -> Iterator[Misfit]:
    bank = config.bank
    if bank.encoder == "hashing":
        given = {"model": bank.model, "revision": bank.revision, "context_length": bank.context_length == "full"}
        for key in (name for name, value in given.items() if value):
            text = f"bank.{key} = {getattr(bank, key)}: hashing does not read it. Fix: set bank.encoder, or remove it."
            yield Misfit((f"bank.{key}", "bank.encoder"), text)
    elif not bank.model:
        text = f"bank.encoder = {bank.encoder}: needs bank.model, a directory or hf-hub:OWNER/NAME."
        yield Misfit(("bank.encoder", "bank.model"), text)


def _baselines(config: "Config") -> Iterator[Misfit]:
    model = config.model
    if model.network == "uvit":
        yield from _released(config)
        return
    if model.condition != "class":
        text = f"model.network = {model.network}: is conditioned on classes only. Fix: set model.condition=class."
        yield Misfit(("model.network", "model.condition"), text)
    if not model.label_token:
        text = f"model.label_token = false: the class is the only condition of {model.network}. Fix: set it to true."
        yield Misfit(("model.label_token", "model.network"), text)
    if config.train.compile:
        text = f"train.compile = true: only model.network=uvit is compiled, not {model.network}. Fix: set it to false."
        yield Misfit(("train.compile", "model.network"), text)
    if model.prototypes.enabled:
        text = f"model.network = {model.network}: has no prototypes. Fix: set model.prototypes.enabled=false."
        yield Misfit(("model.network", "model.prototypes.enabled"), text)
    if model.prototypes.instead == "block":
        text = f"model.prototypes.instead = block: model.network {model.network} has no such block. Fix: remove it."
        yield Misfit(("model.prototypes.instead", "model.network"), text)


def _released(config: "Config") -> Iterator[Misfit]:
    model = config.model
    if model.null_text == "empty" and config.bank.context_length != "full":
        text = "model.null_text = empty: needs padded captions. Fix: set bank.context_length=full or null_text=learned."
        yield Misfit(("model.null_text", "bank.context_length"), text)
    if model.null_text == "empty" and model.condition == "class":
        text = "model.null_text = empty: model.condition=class reads no text. Fix: set null_text=learned."
        yield Misfit(("model.null_text", "model.condition"), text)
    if model.prototypes.enabled and model.prototypes.instead == "block":
        text = "model.prototypes.instead = block: replaces the prototypes. Fix: set model.prototypes.enabled=false."
        yield Misfit(("model.prototypes.instead", "model.prototypes.enabled"), text)
    if not model.label_token and not model.prototypes.enabled:
        text = "model.label_token = false: without prototypes the network has no class input. Fix: enable one of them."
        yield Misfit(("model.label_token", "model.prototypes.enabled"), text)


def _audit(config: "Config") -> Iterator[Misfit]:
    audit = config.audit
    if audit.repeats == 1:
        text = "audit.repeats = 1: captions are compared with each other, which takes two. Fix: set 0 for none, or 2."
        yield Misfit(("audit.repeats",), text)
    if audit.repeats and not audit.temperature:
        text = "audit.temperature = 0: every seed gives the same caption. Fix: raise it, or set audit.repeats=0."
        yield Misfit(("audit.temperature", "audit.repeats"), text)


def _not_divisible(key: str, value: int, by: str, divisor: int, step: int) -> Misfit:
    return Misfit((key, by), f"{key} = {value}: not divisible by {by} {divisor}. {_near(value, step)}")


def _not_below(key: str, value: int, wanted: str, limit: str, most: int) -> Misfit:
    return Misfit((key, limit), f"{key} = {value}: must be {wanted} {limit} {most}. Fix: lower it, or raise {limit}.")


def _near(value: int, step: int) -> str:
    below = value // step * step
    return f"Nearest valid values: {below} and {below + step}." if below else f"Nearest valid value: {step}."
