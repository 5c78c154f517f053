"""Checks of the packages and files of pretrained models; nothing is downloaded."""

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from vapray.bank.tower_files import find_tower, require_packages
from vapray.captioning.prompt_selection import select_prompt_set
from vapray.captioning.vlm_files import find_vlm
from vapray.config import Config, Evaluate
from vapray.doctor.findings import Finding, failed, ok, warning
from vapray.errors import BackendError, VaprayError
from vapray.evaluation.extractors.weight_files import find_weights
from vapray.evaluation.extractors.weight_files import require_packages as require_extractor_packages
from vapray.latents.pretrained_files import find_perceptual_files, find_pretrained
from vapray.latents.teacher_files import teacher_files
from vapray.pretrained.vision_tower_files import VISION_PACKAGES, require_package

__all__ = ["check"]

CAPTIONER_PACKAGES = {"vllm": ("vllm",), "openai": ("openai", "aiolimiter")}
DOWNLOAD = "Allow network access at the first use, which downloads the files."
NEVER_DOWNLOADED = "inception_v3"
"""Extractor whose missing file is not downloaded."""


def check(config: Config) -> Iterator[Finding]:
    """Check the models of the captioner, text encoder, autoencoder, alignment and feature extractor."""
    yield from _captioners(config)
    yield from _text_encoders(config)
    yield from _found("autoencoder", lambda: _autoencoder(config))
    if config.alignment.kind == "teacher":
        teacher = config.alignment.teacher
        package = VISION_PACKAGES[teacher]
        yield from _found(
            "teacher", lambda: _teacher(config), lambda: require_package("alignment.teacher", teacher, package)
        )
    settings = config.evaluate
    yield from _found(
        "features",
        lambda: _extractor(settings),
        lambda: require_extractor_packages(settings.features),
        downloads=settings.features != NEVER_DOWNLOADED,
    )
    yield _network(config.train.tracker)


def _network(tracker: str) -> Finding:
    if not _is_offline():
        return ok("network", "models that are missing here are downloaded; HF_HUB_OFFLINE=1 prevents it")
    found = "HF_HUB_OFFLINE is set: models come from folders and caches of this machine"
    if tracker == "wandb" and os.environ.get("WANDB_MODE") not in ("offline", "disabled"):
        return warning("network", f"{found}; train.tracker=wandb sends curves", "Set WANDB_MODE=offline.")
    return ok("network", found)


def _is_offline() -> bool:
    from huggingface_hub import is_offline_mode

    return bool(is_offline_mode())


def _captioners(config: Config) -> Iterator[Finding]:
    caption = config.caption
    if missing := [name for name in CAPTIONER_PACKAGES.get(caption.captioner, ()) if find_spec(name) is None]:
        advice = f"Install vapray[{caption.captioner}] on the nodes that run pools.caption."
        yield warning("captioner", f"{caption.captioner}: {' and '.join(missing)} not installed here", advice)
    elif caption.captioner == "vllm":
        yield from _found("captioner", lambda: _captioner(config))
    else:
        yield from _found("captioner", lambda: f"{caption.captioner}, prompt set {select_prompt_set(config).name}")


def _text_encoders(config: Config) -> Iterator[Finding]:
    if config.text_encoder.encoder == "hashing":
        yield ok("text encoder", "hashing")
    else:
        yield from _found(
            "text encoder", lambda: _encoder(config), lambda: require_packages(config.text_encoder.encoder)
        )


def _extractor(settings: Evaluate) -> str:
    return ", ".join([settings.features, *(str(path) for path in find_weights(settings, download=False))])


def _teacher(config: Config) -> str:
    return ", ".join([config.alignment.teacher, *map(str, teacher_files(config).paths(download=False))])


def _captioner(config: Config) -> str:
    assert config.caption.model is not None
    files = find_vlm(config.caption.model, config.caption.revision, download=False)
    return f"vllm: {files.folder}, revision {files.revision}, prompt set {select_prompt_set(config).name}"


def _encoder(config: Config) -> str:
    files = find_tower(config.text_encoder, download=False)
    return f"{config.text_encoder.encoder}: {files.folder}, {files.width} values per token"


def _autoencoder(config: Config) -> str:
    settings = config.autoencoder
    find_perceptual_files(settings)
    if settings.kind not in ("diffusers", "taef2"):
        return settings.kind
    folder = find_pretrained(settings, download=False)
    return f"{settings.kind}: {folder}, {settings.channels} channels, downsampling factor {settings.factor}"


def _found(
    name: str, find: Callable[[], str], require: Callable[[], object] = lambda: None, *, downloads: bool = True
) -> Iterator[Finding]:
    """Find files, which a run can still download unless it is offline, with packages (``require``) that it cannot."""
    try:
        require()
    except BackendError as error:
        yield failed(name, str(error), "", error.exit_code)
        return
    try:
        yield ok(name, find())
    except BackendError as error:
        if downloads and not _is_offline():
            yield warning(name, str(error), DOWNLOAD)
        else:
            yield failed(name, str(error), "", error.exit_code)
    except VaprayError as error:
        yield failed(name, str(error), "", error.exit_code)
