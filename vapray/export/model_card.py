"""The model card of an export: what the model is, where it comes from, how it is used, what it is not for."""

from importlib.metadata import version
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vapray import __version__
from vapray.export.loaded_checkpoint import LoadedCheckpoint
from vapray.export.memorisation_gate import AuditGate
from vapray.latents.description import describe_autoencoder
from vapray.pretrained.model_files import is_directory, public_name
from vapray.sampling.generated import SamplingSettings

__all__ = ["loading_lines", "model_card"]

CAPTIONERS = {
    "measured": "worded from image analysis (`measured`); no language model saw the images",
    "given": "given with the images",
    "drawn": "worded from what the images were drawn with (`drawn`)",
    "vllm": "written by the multimodal LLM {model}",
    "openai": "written by the multimodal LLM {model}",
}
WEIGHTS = {"ema": "averaged weights", "raw": "weights of the last step"}
TOWERS = {
    "here": "The text encoder's files are in `text_encoder/files`, under the license of their makers.",
    "hub": "Captions need the text encoder `{name}`, which is fetched at the first caption, or given as `text_model`; "
    "another one is refused by its sha256. Without it, give `prompt_embeds`.",
    "elsewhere": "Captions need the text encoder that the model was trained with, whose files are not in this folder: "
    "`text_model` names a folder of them, and another one is refused by its sha256. Without it, give `prompt_embeds`.",
}
TOWER_PACKAGES = {"open_clip": "open_clip_torch, transformers", "transformers": "transformers"}


TO_BE_GIVEN = "describe shape, size, colour and texture"


def model_card(opened: LoadedCheckpoint, audited: AuditGate, folder: str) -> str:
    """Markdown with YAML front matter; no path of this machine is in it.

    Args:
        opened: the checkpoint.
        audited: what is known of copies of training pictures.
        folder: name of the export's folder.
    """
    environment = Environment(
        loader=PackageLoader("vapray.export", ""),
        autoescape=False,  # noqa: S701 it is Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("model_card.md.jinja").render(
        **_of_model(opened),
        **_of_captions(opened),
        **_of_data(opened),
        audited=audited,
        lines=loading_lines(opened, folder),
    )


def loading_lines(opened: LoadedCheckpoint, folder: str) -> list[str]:
    """Python that loads an export and draws an image."""
    more = ", text_model='FOLDER'" if _place_of_tower(opened) == "elsewhere" else ""
    asked = [repr(opened.card.class_names[0])]
    asked += [f"caption={TO_BE_GIVEN!r}"] if opened.takes_captions and not opened.with_bank else []
    return [
        "from diffusers import DiffusionPipeline",
        f"pipe = DiffusionPipeline.from_pretrained({folder!r}, trust_remote_code=True{more})",
        f"pipe({', '.join(asked)}, seed=7).images[0].save('image.png')",
    ]


def _place_of_tower(opened: LoadedCheckpoint) -> str | None:
    """Where the files of a text tower are; None where there is none."""
    if opened.card.config.bank.encoder == "hashing" or not opened.takes_captions:
        return None
    return "here" if opened.text_files else "hub" if public_name(opened.card.config.bank.model) else "elsewhere"


def _of_model(opened: LoadedCheckpoint) -> dict[str, Any]:
    card, model = opened.card, opened.card.config.model
    kind = {"uvit": "U-ViT", "dit": "DiT", "unet": "U-Net of latent diffusion"}[model.network]
    prototypes = " with class prototypes" if opened.network.prototypes is not None else ""
    autoencoder = card.config.autoencoder
    shown = autoencoder.model_copy(update={"model": public_name(autoencoder.model) or "a folder of its trainer"})
    return {
        "network": f"{kind}{prototypes}",
        "weights": WEIGHTS[opened.weights],
        "parameters": sum(weights.numel() for weights in opened.network.parameters()),
        "latents": f"{card.space.channels} x {card.space.side} x {card.space.side}; {describe_autoencoder(shown, {})}",
        "schedule": card.config.diffusion,
        "sampling": SamplingSettings.from_config(card.config),
        "sha256": opened.sha256,
        "vapray": __version__,
        "diffusers": version("diffusers"),
    }


def _of_captions(opened: LoadedCheckpoint) -> dict[str, Any]:
    config, place = opened.card.config, _place_of_tower(opened)
    packages = f", {TOWER_PACKAGES[config.bank.encoder]}" if place else ""
    return {
        "captions": opened.takes_captions,
        "bank": opened.with_bank,
        "max_tokens": config.bank.max_tokens,
        "context_width": opened.card.context_width,
        "encoder": opened.card.text_encoder,
        "packages": packages,
        "tower": TOWERS[place].format(name=public_name(config.bank.model)) if place else "",
        "origin": CAPTIONERS[config.caption.captioner].format(model=_shown(config.caption.model)),
    }


def _of_data(opened: LoadedCheckpoint) -> dict[str, Any]:
    config, bank = opened.card.config, opened.bank
    counts = [len(bank.entries(label)) if label in bank.labels else 0 for label in range(len(opened.card.class_names))]
    return {
        "modality": config.data.modality.replace("_", " "),
        "side": config.data.image_size,
        "source": config.data.source,
        "images": len(bank),
        "steps": opened.notes["steps"],
        "batch_size": config.train.batch_size,
        "classes": list(zip(map(_cell, opened.card.class_names), counts, strict=True)),
    }


def _shown(model: str | None) -> str:
    """A model's name without the folders of this machine."""
    return (
        PurePath(model or "unknown").name if is_directory(model) or PurePath(model or "").is_absolute() else str(model)
    )


def _cell(text: str) -> str:
    """Text that cannot end a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")
