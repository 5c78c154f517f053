"""Model card of an export: model, data, use and limits."""

from importlib.metadata import version
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vapray import __version__
from vapray.bank.transformer_encoder import TransformerEncoder
from vapray.config import modality_name
from vapray.export.export_source import ExportSource
from vapray.export.memorisation_gate import AuditGate
from vapray.latents.description import describe_autoencoder
from vapray.pretrained.model_files import HUB, is_directory, public_name
from vapray.sampling.generated import SamplingSettings

__all__ = ["loading_lines", "model_card"]

CAPTIONERS = {
    "measured": "worded from image analysis (`measured`); no language model saw the images",
    "precomputed": "given with the images",
    "ground_truth": "worded from what the images were drawn with (`ground_truth`)",
    "vllm": "written by the multimodal LLM {model}",
    "openai": "written by the multimodal LLM {model}",
}
WEIGHTS = {"ema": "averaged weights", "raw": "weights of the last step"}
TOWERS = {
    "here": "The folders `text_encoder` and `tokenizer` are under the license of their makers.",
    "hub": "Captions need the text encoder `{name}`, which the code above downloads. Another one is refused by its "
    "sha256. Without it, give `prompt_embeds`.",
    "elsewhere": "Captions need the text encoder of the training, which is not in this folder: replace `FOLDER` by its "
    "path. Another one is refused by its sha256. Without it, give `prompt_embeds`.",
}
TOWER_PACKAGES = {"open_clip": "open_clip_torch, transformers", "transformers": "transformers"}
TOWER_LINES = {
    "open_clip": [
        "import open_clip",
        "text_encoder = open_clip.create_model({source!r}).text.transformer",
        "tokenizer = open_clip.get_tokenizer({source!r}).tokenizer",
    ],
    "transformers": [
        "import transformers",
        "text_encoder = transformers.{kind}.from_pretrained({source!r})",
        "tokenizer = transformers.AutoTokenizer.from_pretrained({source!r})",
    ],
}


TO_BE_GIVEN = "describe shape, size, colour and texture"


def model_card(opened: ExportSource, audited: AuditGate, folder: str) -> str:
    """Render the card: Markdown with YAML front matter, without a path of this machine.

    Args:
        opened: Verified checkpoint.
        audited: Outcome of the audits for copies of training images.
        folder: Name of the export folder.
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


def loading_lines(opened: ExportSource, folder: str) -> list[str]:
    """Python that loads an export and generates an image."""
    tower = [] if _place_of_tower(opened) in (None, "here") else _tower_lines(opened)
    given = ", text_encoder=text_encoder, tokenizer=tokenizer" if tower else ""
    arguments = [repr(opened.card.class_names[0])]
    arguments += [f"caption={TO_BE_GIVEN!r}"] if opened.takes_captions and not opened.with_bank else []
    return [
        "from diffusers import DiffusionPipeline",
        *tower,
        f"pipe = DiffusionPipeline.from_pretrained({folder!r}, trust_remote_code=True{given})",
        f"pipe({', '.join(arguments)}, seed=7).images[0].save('image.png')",
    ]


def _tower_lines(opened: ExportSource) -> list[str]:
    """Python that loads the text encoder by the library that it is of."""
    encoder, bank = opened.text_encoder, opened.card.config.text_encoder
    assert isinstance(encoder, TransformerEncoder)
    name = public_name(bank.model)
    source = "FOLDER" if name is None else name.removeprefix(HUB)
    if bank.encoder == "open_clip":
        source = f"{HUB}{source}" if name else f"local-dir:{source}"
    kind = type(encoder.portable().network).__name__
    return [line.format(source=source, kind=kind) for line in TOWER_LINES[bank.encoder]]


def _place_of_tower(opened: ExportSource) -> str | None:
    """Place of the files of a text tower: here, hub or elsewhere; None without a text tower."""
    if not isinstance(opened.text_encoder, TransformerEncoder):
        return None
    return (
        "here"
        if opened.with_text_encoder
        else "hub"
        if public_name(opened.card.config.text_encoder.model)
        else "elsewhere"
    )


def _of_model(opened: ExportSource) -> dict[str, Any]:
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


def _of_captions(opened: ExportSource) -> dict[str, Any]:
    config, place = opened.card.config, _place_of_tower(opened)
    packages = f", {TOWER_PACKAGES[config.text_encoder.encoder]}" if place else ""
    return {
        "captions": opened.takes_captions,
        "bank": opened.with_bank,
        "max_tokens": config.text_encoder.max_tokens,
        "context_width": opened.card.context_width,
        "encoder": opened.card.text_encoder,
        "packages": packages,
        "tower": TOWERS[place].format(name=public_name(config.text_encoder.model)) if place else "",
        "untrusted": opened.card.untrusted,
        "origin": CAPTIONERS[config.caption.captioner].format(model=_shown(config.caption.model)),
    }


def _of_data(opened: ExportSource) -> dict[str, Any]:
    config, bank = opened.card.config, opened.bank
    counts = [len(bank.entries(label)) if label in bank.labels else 0 for label in range(len(opened.card.class_names))]
    return {
        "modality": modality_name(config.data.modality),
        "side": config.data.image_size,
        "source": config.data.source,
        "images": len(bank),
        "origins": opened.origins,
        "steps": opened.notes["steps"],
        "batch_size": config.train.batch_size,
        "classes": list(zip(map(_cell, opened.card.class_names), counts, strict=True)),
    }


def _shown(model: str | None) -> str:
    """Name of a model without a folder of this machine."""
    return (
        PurePath(model or "unknown").name if is_directory(model) or PurePath(model or "").is_absolute() else str(model)
    )


def _cell(text: str) -> str:
    """Escape a text for a table cell."""
    return " ".join(text.split()).replace("|", "\\|")
