"""What every rank of a training run is told."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vapray.board import Board
from vapray.checkpoint import read_newest_step
from vapray.config import Config
from vapray.latents.latent_space import LatentSpace
from vapray.models.uvit import UViT
from vapray.store import Version
from vapray.training.initial_weights import start_from
from vapray.training.network import Network, build_network
from vapray.training.state import TrainingState

__all__ = ["TrainingJob"]


@dataclass(frozen=True)
class TrainingJob:
    """Settings, tables, and where to say how it goes.

    Attributes:
        config: the tree.
        bank: captions and contexts.
        latents: moments.
        output: the version that is filled.
        num_classes: of the dataset.
        context_width: of the text encoder's tokens.
        space: normalises latents.
        board: between the ranks and the driver.
        validate: distance of an averaged network's images to the validation split; None where there is none.
        empty_context: of the empty text, for ``model.null_text=empty``.
    """

    config: Config
    bank: Version
    latents: Version
    output: Version
    num_classes: int
    context_width: int
    space: LatentSpace
    board: Board
    validate: Callable[[Network], float] | None
    empty_context: NDArray[np.float16] | None = None

    @property
    def steps_folder(self) -> str:
        """Of training states."""
        return f"{self.output.folder}/files/steps"

    def first_network(self, say: Callable[[str], None]) -> Network:
        """Before the first step; ``say`` hears what came from ``train.init_from``."""
        network = build_network(
            self.config,
            num_classes=self.num_classes,
            latent_channels=self.space.channels,
            context_width=self.context_width,
        )
        if self.config.train.init_from:
            say(start_from(network, self.config.train.init_from))
        if self.empty_context is not None and isinstance(network, UViT) and network.text is not None:
            network.text.empty_context.copy_(torch.from_numpy(self.empty_context))
        return network

    def standing_state(self) -> TrainingState:
        """Where the newest checkpoint left off, on the CPU."""
        state = TrainingState.begin(self.first_network(print), self.config.train)
        if files := self.newest_files(print):
            state.restore(files)
        return state

    def newest_files(self, say: Callable[[str], None]) -> dict[str, bytes] | None:
        """Of the newest whole training state; ``say`` hears of those that are passed over."""
        strict = self.config.train.strict_checkpoints
        return read_newest_step(self.output.files, self.steps_folder, say, strict=strict)
