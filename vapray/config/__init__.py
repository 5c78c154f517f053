"""Configuration: one frozen, typed tree. The docstring under a field is its help text.

:func:`vapray.config.loader.load_config` builds it from a YAML file and overrides. The sections in a stage's fingerprint
decide that stage's result. ``run.root``, ``cluster`` and ``pools`` are in no fingerprint: they change location and
speed only.
"""

from typing import Self

from pydantic import model_validator

from vapray.config.alignment import Alignment
from vapray.config.captioning import Caption, Endpoint, TextEncoderSection, Vllm
from vapray.config.conflict import ConfigConflicts
from vapray.config.conflicts import find_conflicts
from vapray.config.data import Data, modality_name
from vapray.config.downstream import Downstream
from vapray.config.evaluation import CaptionAudit, Evaluate
from vapray.config.execution import Cluster, Pool, Pools, Run
from vapray.config.network import Autoencoder, Diffusion, Model
from vapray.config.sampling import Sample
from vapray.config.section import ConfigSection
from vapray.config.training import Train

__all__ = [
    "Alignment",
    "CaptionAudit",
    "Cluster",
    "Config",
    "Data",
    "Downstream",
    "Endpoint",
    "Pool",
    "Pools",
    "Sample",
    "TextEncoderSection",
    "Train",
    "Vllm",
    "modality_name",
]


class Config(ConfigSection):
    """Complete configuration of a run."""

    run: Run = Run()
    cluster: Cluster = Cluster()
    pools: Pools = Pools()
    data: Data = Data()
    caption: Caption = Caption()
    vllm: Vllm = Vllm()
    endpoint: Endpoint = Endpoint()
    text_encoder: TextEncoderSection = TextEncoderSection()
    autoencoder: Autoencoder = Autoencoder()
    model: Model = Model()
    diffusion: Diffusion = Diffusion()
    train: Train = Train()
    alignment: Alignment = Alignment()
    sample: Sample = Sample()
    evaluate: Evaluate = Evaluate()
    caption_audit: CaptionAudit = CaptionAudit()
    downstream: Downstream = Downstream()

    @property
    def latent_side(self) -> int:
        """Side of the latent, in latent pixels."""
        return self.data.image_size // (1 if self.autoencoder.kind == "pixels" else self.autoencoder.factor)

    @property
    def patch_grid(self) -> int:
        """Number of patches along a side of the latent, for uvit and dit."""
        return self.latent_side // self.model.patch_size

    @property
    def prompt_set(self) -> str:
        """Name or path of the prompt set in use."""
        return self.caption.prompt_set or self.data.modality

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if found := list(find_conflicts(self)):
            raise ConfigConflicts(found)
        return self
