"""Conflicts between settings that are each valid on their own."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vapray.config.alignment_conflicts import find_alignment_conflicts
from vapray.config.autoencoder_conflicts import find_autoencoder_conflicts
from vapray.config.caption_conflicts import find_caption_conflicts
from vapray.config.conflict import ConfigConflict
from vapray.config.diffusion_conflicts import find_diffusion_conflicts
from vapray.config.downstream_conflicts import find_downstream_conflicts
from vapray.config.evaluation_conflicts import find_evaluation_conflicts

if TYPE_CHECKING:
    from vapray.config import Config

__all__ = ["find_conflicts"]

UNET_STEP = 4
"""Factor by which the U-Net reduces a side: two halvings between its three resolutions."""
RAYS_OWN = frozenset({"CPU", "GPU", "memory", "object_store_memory", ""})
"""Resource names that Ray takes by other settings or does not accept as custom resources."""


def find_conflicts(config: "Config") -> Iterator[ConfigConflict]:
    """Find every pair of settings that cannot work together."""
    yield from _sizes(config)
    yield from _counts(config)
    yield from _custom_resources(config)
    yield from _data_paths(config)
    yield from find_caption_conflicts(config)
    yield from _encoder(config)
    yield from _baselines(config)
    yield from _audit(config)
    yield from _sample_bank(config)
    yield from find_alignment_conflicts(config)
    yield from find_autoencoder_conflicts(config)
    yield from find_diffusion_conflicts(config)
    yield from find_downstream_conflicts(config)
    yield from find_evaluation_conflicts(config)


def _sample_bank(config: "Config") -> Iterator[ConfigConflict]:
    if config.sample.caption_class_map and not config.sample.caption_run:
        text = "sample.caption_class_map: names classes of another run, but sample.caption_run is not set. Fix: set it."
        yield ConfigConflict(("sample.caption_class_map", "sample.caption_run"), text)


def _sizes(config: "Config") -> Iterator[ConfigConflict]:
    size, factor, patch = config.data.image_size, config.autoencoder.factor, config.model.patch_size
    step = 1 if config.autoencoder.kind == "pixels" else factor
    if size % step:
        yield _not_divisible("data.image_size", size, "autoencoder.factor", factor, step)
    elif config.latent_side % patch:
        keys = ("data.image_size", "model.patch_size", "autoencoder.factor", "autoencoder.kind")
        made = f"makes latents of side {config.latent_side}, not divisible by model.patch_size {patch}"
        yield ConfigConflict(keys, f"data.image_size = {size}: {made}. {_near(size, step * patch)}")
    if config.model.network == "unet" and config.latent_side % UNET_STEP:
        made = f"makes latents of side {config.latent_side}; model.network=unet halves it twice"
        text = f"data.image_size = {size}: {made}. {_near(size, step * UNET_STEP)}"
        yield ConfigConflict(("data.image_size", "model.network"), text)
    width, heads = config.model.width, config.model.num_heads
    if width % heads:
        yield _not_divisible("model.width", width, "model.num_heads", heads, math.lcm(2, heads))
    if config.model.rope and width // heads < 4:
        text = f"model.rope = true: needs heads of width 4 or more, got {width // heads}. Fix: fewer model.num_heads."
        yield ConfigConflict(("model.rope", "model.width", "model.num_heads"), text)


def _counts(config: "Config") -> Iterator[ConfigConflict]:
    batch, workers = config.train.batch_size, config.train.workers
    if batch % workers:
        yield _not_divisible("train.batch_size", batch, "train.workers", workers, workers)
    if config.train.min_workers > workers:
        yield _not_below("train.min_workers", config.train.min_workers, "at most", "train.workers", workers)
    for name, pool in config.pools:
        if pool.min_size > pool.max_size:
            smaller, larger = f"pools.{name}.min_size", f"pools.{name}.max_size"
            yield _not_below(smaller, pool.min_size, "at most", larger, pool.max_size)
    if (parts := config.train.gradient_accumulation_steps) > batch // workers:
        share = f"a worker's share of a batch is {batch // workers} rows"
        text = f"train.gradient_accumulation_steps = {parts}: {share}. Lower it."
        yield ConfigConflict(("train.gradient_accumulation_steps", "train.batch_size", "train.workers"), text)
    if config.train.sharding == "fsdp" and config.train.compile and config.train.activation_checkpointing:
        text = (  # https://github.com/pytorch/pytorch/issues/166926
            "train.activation_checkpointing = true: with train.sharding=fsdp and train.compile=true a different "
            "compiled graph may recompute the activations, which stops training. Fix: set "
            "train.activation_checkpointing or train.compile to false."
        )
        yield ConfigConflict(("train.activation_checkpointing", "train.compile", "train.sharding"), text)
    if config.train.optimizer == "muon" and config.train.sharding == "fsdp":
        text = "train.optimizer = muon: orthogonalizes whole matrices, of which a rank of fsdp has only a share."
        fix = "Fix: set train.sharding=ddp or train.optimizer=adamw."
        yield ConfigConflict(("train.optimizer", "train.sharding"), f"{text} {fix}")
    evaluations, steps = config.sample.num_inference_steps, config.diffusion.steps
    if evaluations >= steps:
        yield _not_below("sample.num_inference_steps", evaluations, "below", "diffusion.steps", steps)
    interval = config.sample.guidance_interval
    if interval and interval[0] > interval[1]:
        text = f"sample.guidance_interval = {list(interval)}: expected [first, last] diffusion step, first <= last."
        yield ConfigConflict(("sample.guidance_interval",), text)
    held_out = config.data.validation_share, config.data.test_share
    if sum(held_out) >= 1:
        keys = ("data.validation_share", "data.test_share")
        text = f"{held_out[0]:g} and {held_out[1]:g} leave no training images. Their sum must be below 1."
        yield ConfigConflict(keys, f"{keys[0]} and {keys[1]}: {text}")


def _custom_resources(config: "Config") -> Iterator[ConfigConflict]:
    asked = {f"pools.{name}.resources": pool.resources for name, pool in config.pools}
    for key, resources in {**asked, "train.resources_per_worker": config.train.resources_per_worker}.items():
        for name in sorted(RAYS_OWN & {*resources}):
            instead = key.replace("resources", "num_cpus or num_gpus")
            if key.startswith("train"):
                instead = "train.cpus_per_worker or train.use_gpu"
            text = f"{key} = {name or 'nothing'}: expected a custom resource, such as caption. Or set {instead}."
            yield ConfigConflict((key,), text)


def _data_paths(config: "Config") -> Iterator[ConfigConflict]:
    data = config.data
    if data.source != "phantom" and not data.root:
        text = f"data.source = {data.source}: needs data.root, the dataset's folder. Fix: add data.root=FOLDER."
        yield ConfigConflict(("data.source", "data.root"), text)
    for key, source in (("no_finding", "chestxray14"), ("labels", "colonoscopy")):
        if getattr(data, key) and data.source != source:
            text = f"data.{key} = {getattr(data, key)}: only data.source={source} reads it. Fix: remove it."
            yield ConfigConflict((f"data.{key}", "data.source"), text)
    if data.root and "://" in data.root:
        text = f"data.root = {data.root}: expected a folder that every node can read; only run.root may be a URI."
        yield ConfigConflict(("data.root",), text)
    if data.source == "phantom" and not data.root and "://" in config.run.root:
        text = f"run.root = {config.run.root}: phantoms are drawn into a local folder. Fix: add data.root=FOLDER."
        yield ConfigConflict(("data.root", "run.root"), text)


def _encoder(config: "Config") -> Iterator[ConfigConflict]:
    encoder = config.text_encoder
    if encoder.encoder == "hashing":
        full = encoder.context_length == "full"
        given = {"model": encoder.model, "revision": encoder.revision, "context_length": full}
        for key in (f"text_encoder.{name}" for name, value in given.items() if value):
            value = getattr(encoder, key.partition(".")[2])
            text = f"{key} = {value}: hashing does not read it. Fix: set text_encoder.encoder, or remove it."
            yield ConfigConflict((key, "text_encoder.encoder"), text)
    elif not encoder.model:
        text = f"text_encoder.encoder = {encoder.encoder}: needs text_encoder.model, a directory or hf-hub:OWNER/NAME."
        yield ConfigConflict(("text_encoder.encoder", "text_encoder.model"), text)


def _baselines(config: "Config") -> Iterator[ConfigConflict]:
    model = config.model
    if model.network == "uvit":
        yield from _released(config)
        return
    if model.condition != "class":
        text = f"model.network = {model.network}: is conditioned on classes only. Fix: set model.condition=class."
        yield ConfigConflict(("model.network", "model.condition"), text)
    if not model.label_token:
        text = f"model.label_token = false: the class is the only condition of {model.network}. Fix: set it to true."
        yield ConfigConflict(("model.label_token", "model.network"), text)
    switches = {"label_tokens": 1, "qk_norm": False, "rope": False, "time_mlp": False, "mlp": "gelu"}
    for key, default in switches.items():
        if (value := getattr(model, key)) != default:
            text = f"model.{key} = {value}: only model.network=uvit reads it, not {model.network}. Fix: remove it."
            yield ConfigConflict((f"model.{key}", "model.network"), text)
    if config.train.optimizer == "muon":
        text = f"train.optimizer = muon: only model.network=uvit has it, not {model.network}. Fix: set it to adamw."
        yield ConfigConflict(("train.optimizer", "model.network"), text)
    if config.train.compile:
        text = f"train.compile = true: only model.network=uvit is compiled, not {model.network}. Fix: set it to false."
        yield ConfigConflict(("train.compile", "model.network"), text)
    if model.prototypes.enabled:
        text = f"model.network = {model.network}: has no prototypes. Fix: set model.prototypes.enabled=false."
        yield ConfigConflict(("model.network", "model.prototypes.enabled"), text)
    if model.prototypes.replacement == "block":
        text = f"model.prototypes.replacement = block: model.network {model.network} has no such block. Fix: remove it."
        yield ConfigConflict(("model.prototypes.replacement", "model.network"), text)


def _released(config: "Config") -> Iterator[ConfigConflict]:
    model = config.model
    if model.null_text == "empty" and config.text_encoder.context_length != "full":
        fix = "Fix: set text_encoder.context_length=full or null_text=learned."
        text = f"model.null_text = empty: needs padded captions. {fix}"
        yield ConfigConflict(("model.null_text", "text_encoder.context_length"), text)
    if model.null_text == "empty" and model.condition == "class":
        text = "model.null_text = empty: model.condition=class reads no text. Fix: set null_text=learned."
        yield ConfigConflict(("model.null_text", "model.condition"), text)
    if model.prototypes.enabled and model.prototypes.replacement == "block":
        text = "model.prototypes.replacement = block: replaces the prototypes. Fix: set model.prototypes.enabled=false."
        yield ConfigConflict(("model.prototypes.replacement", "model.prototypes.enabled"), text)
    if not model.label_token and not model.prototypes.enabled:
        text = "model.label_token = false: without prototypes the network has no class input. Fix: enable one of them."
        yield ConfigConflict(("model.label_token", "model.prototypes.enabled"), text)


def _audit(config: "Config") -> Iterator[ConfigConflict]:
    audit = config.caption_audit
    if audit.repeats == 1:
        text = "caption_audit.repeats = 1: captions are compared with each other, which takes two. Fix: set 0 or 2."
        yield ConfigConflict(("caption_audit.repeats",), text)
    if audit.repeats and not audit.temperature:
        fix = "Fix: raise it, or set caption_audit.repeats=0."
        text = f"caption_audit.temperature = 0: every seed gives the same caption. {fix}"
        yield ConfigConflict(("caption_audit.temperature", "caption_audit.repeats"), text)


def _not_divisible(key: str, value: int, by: str, divisor: int, step: int) -> ConfigConflict:
    return ConfigConflict((key, by), f"{key} = {value}: not divisible by {by} {divisor}. {_near(value, step)}")


def _not_below(key: str, value: int, wanted: str, limit: str, most: int) -> ConfigConflict:
    return ConfigConflict(
        (key, limit), f"{key} = {value}: must be {wanted} {limit} {most}. Fix: lower it, or raise {limit}."
    )


def _near(value: int, step: int) -> str:
    below = value // step * step
    return f"Nearest valid values: {below} and {below + step}." if below else f"Nearest valid value: {step}."
