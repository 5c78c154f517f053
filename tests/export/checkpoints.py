"""Checkpoints of every kind that a config can ask for, without a run; weights far from their init."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch

from tests.bank.tiny_models import bert, biomedclip
from tests.latents.discs import draw_discs
from tests.latents.trained_models import stable_diffusion, taef2
from vapray.bank.factory import build_text_encoder
from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.config.loader import load_config
from vapray.data.origins import OriginSummary
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.kl_autoencoder import KlAutoencoder
from vapray.latents.kl_network import build_autoencoder
from vapray.latents.latent_space import LatentSpace
from vapray.latents.patch_pca import fit_patch_pca
from vapray.latents.pixel_space import PixelSpace
from vapray.latents.tiny_autoencoder import TinyAutoencoder
from vapray.store.checkpoint import read_folder_bytes, write_checkpoint
from vapray.store.files import FileStore
from vapray.training.final import final_checkpoint
from vapray.training.network import build_network
from vapray.training.state import TrainingState

CLASSES = ("melanoma", "a | pipe")
ORIGINS = OriginSummary({"CC0-1.0": 9}, {"vapray phantoms": 9}, 4)
SMALL = ("data.image_size=16", "model.width=16", "model.depth=2", "model.num_heads=2", "sample.num_inference_steps=3")
CLASS_ONLY = ("model.condition=class", "model.prototypes.enabled=false")
KINDS: dict[str, tuple[str, ...]] = {
    "captions": (),
    "class": CLASS_ONLY,
    "dit": (*CLASS_ONLY, "model.network=dit"),
    "unet": (*CLASS_ONLY, "model.network=unet"),
    "pixels": ("autoencoder.kind=pixels", "diffusion.schedule=linear", "model.patch_size=4"),
    "pca": ("autoencoder.kind=pca", "autoencoder.channels=20", "model.patch_size=1"),
    "flow": ("diffusion.path=flow", "diffusion.prediction=x", "diffusion.loss=v", "sample.solver=heun"),
    "rope": ("model.rope=true", "model.qk_norm=true", "model.label_tokens=2"),
    "velocity": ("diffusion.prediction=v", "diffusion.loss=v"),
    "diffusers": ("autoencoder.kind=diffusers", "autoencoder.factor=8"),
    "taef2": ("autoencoder.kind=taef2", "autoencoder.channels=32", "autoencoder.factor=8"),
    "released": (
        "model.label_token=false",
        "model.prototypes.after=middle",
        "model.prototypes.injection=released",
        "sample.split_unconditional=true",
        "sample.precision=bfloat16",
    ),
    "tower": ("text_encoder.encoder=transformers",),
    "open_clip": ("text_encoder.encoder=open_clip", "text_encoder.context_length=full", "text_encoder.max_tokens=32"),
}
"""Settings of each kind; the files of trained models are made next to the checkpoint."""
TOWERS = {"tower": bert, "open_clip": lambda folder: biomedclip(folder, pooler="cls_pooler")}
"""Functions that make the files of the text towers."""


def make_checkpoint(
    folder: Path, kind: str, origins: OriginSummary = ORIGINS, untrusted: Mapping[str, str] = MappingProxyType({})
) -> Path:
    """The ``final`` folder of a checkpoint of a kind."""
    autoencoder, named = _autoencoder(folder, kind)
    if kind in TOWERS:
        named = [f"text_encoder.model={TOWERS[kind](folder / 'tower')}"]
    config = load_config(None, [*SMALL, *KINDS[kind], *named])
    space = LatentSpace(
        autoencoder.channels, config.latent_side, *((value,) * autoencoder.channels for value in (0.1, 1.5))
    )
    encoder = build_text_encoder(config.text_encoder)
    network = build_network(
        config, num_classes=len(CLASSES), latent_channels=space.channels, context_width=encoder.width
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    entries = [BankEntry(f"patient-{n}", n % 2, f"a {word} lesion of {n} %") for n, word in enumerate(["dark"] * 9)]
    autoencoder.save(folder / "autoencoder")
    training = TrainingState.initial(network, config.train)
    with torch.no_grad():
        for weight in network.parameters():  # the raw weights; the averaged ones stay
            weight.mul_(1.2)
    state = training.to_files()
    files = read_folder_bytes(folder / "autoencoder")
    contents = final_checkpoint(config, state, PromptBank(entries), files, space, CLASSES, origins, untrusted)
    write_checkpoint(FileStore(str(folder)), "final", contents)
    return folder / "final"


def _autoencoder(folder: Path, kind: str) -> tuple[Autoencoder, Sequence[str]]:
    model = folder / "model"
    if kind == "pixels":
        return PixelSpace(), ()
    if kind == "pca":
        return fit_patch_pca(draw_discs(8), channels=20, factor=4, whitening=0.5), ()
    if kind == "diffusers":
        return KlAutoencoder.load(stable_diffusion(model)), [f"autoencoder.model={model}"]
    if kind == "taef2":
        return TinyAutoencoder.from_pair(taef2(model)), [f"autoencoder.model={model}"]
    return KlAutoencoder(build_autoencoder(channels=4, factor=4, width=8, side=16, seed=0)), ()
