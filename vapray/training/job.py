"""Job description that every rank of a training run gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from vapray.config import Config
from vapray.latents.latent_space import LatentSpace
from vapray.models.uvit import UViT
from vapray.runtime.driver_channel import DriverChannel
from vapray.store.checkpoint import load_latest_training_state
from vapray.store.version import Version
from vapray.training.alignment import add_alignment
from vapray.training.initial_weights import load_initial_weights
from vapray.training.network import Network, build_network
from vapray.training.state import TrainingState

__all__ = ["TrainingJob", "Validation"]


class Validation(Protocol):
    """Validation of an averaged network."""

    def prepare(self) -> None:
        """Load what all calls need."""

    def __call__(self, network: Network) -> Mapping[str, float]:
        """Compute ``validation_distance``, lower is better, and other values."""


@dataclass(frozen=True)
class TrainingJob:
    """Settings, tables and driver channel of a training run.

    Attributes:
        config: configuration of the run.
        bank: table of captions and contexts.
        latents: table of moments.
        output: version that training writes.
        num_classes: number of classes of the dataset.
        context_width: width of the text encoder's tokens.
        space: latent space, which normalizes latents.
        board: message channel between the ranks and the driver.
        validate: validation of EMA networks; None: none.
        empty_context: context of the empty text, for ``model.null_text=empty``.
    """

    config: Config
    bank: Version
    latents: Version
    output: Version
    num_classes: int
    context_width: int
    space: LatentSpace
    board: DriverChannel
    validate: Validation | None
    empty_context: NDArray[np.float16] | None = None

    @property
    def steps_folder(self) -> str:
        """Folder of training states."""
        return f"{self.output.folder}/files/steps"

    def network(self) -> Network:
        """Build the network with random weights that depend on ``run.seed`` only."""
        return build_network(
            self.config,
            num_classes=self.num_classes,
            latent_channels=self.space.channels,
            context_width=self.context_width,
        )

    def load_or_init_state(self, log: Callable[[str], None]) -> TrainingState:
        """Load the state of the latest checkpoint, or build the one before the first step; on the CPU.

        Args:
            log: log function for skipped checkpoints and the summary of ``train.init_from``.
        """
        network, files = self.network(), self.latest_state_files(log)
        if files is None:
            self._fill_initial_weights(network, log)
        if isinstance(network, UViT):
            taught = self.config.alignment.kind == "teacher"
            notes = self.latents.require_manifest().notes if taught else {}
            add_alignment(network, self.config, notes["teacher_shape"][0] if taught else None)
        state = TrainingState.initial(network, self.config.train)
        if files:
            state.restore(files)
        return state

    def _fill_initial_weights(self, network: Network, log: Callable[[str], None]) -> None:
        if self.config.train.init_from:
            log(load_initial_weights(network, self.config.train.init_from))
        if self.empty_context is not None and isinstance(network, UViT) and network.text is not None:
            network.text.fill_empty_context(torch.from_numpy(self.empty_context))

    def latest_state_files(self, log: Callable[[str], None]) -> dict[str, bytes] | None:
        """Read the files of the latest complete training state; ``log`` logs the skipped ones."""
        strict = self.config.train.strict_checkpoints
        return load_latest_training_state(self.output.files, self.steps_folder, log, strict=strict)
