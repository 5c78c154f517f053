"""Registry of the service's models: checkpoint metadata and prompt banks, without weights."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from serve.backend import BankEntryInfo, ModelInfo
from serve.errors import ApiError, unknown_model
from serve.settings import ModelSettings
from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.config import Config
from vapray.sampling.checkpoint_loading import CheckpointMetadata, LoadedCheckpoint
from vapray.sampling.generated import SamplingSettings

__all__ = ["ModelRegistry", "RegisteredModel"]


@dataclass(frozen=True)
class RegisteredModel:
    """Metadata and prompt bank of a checkpoint."""

    settings: ModelSettings
    card: CheckpointMetadata
    bank: PromptBank
    sha256: str
    """Hash of the weights."""

    @property
    def config(self) -> Config:
        """Training config."""
        return self.card.config

    @classmethod
    def read(cls, model: ModelSettings) -> "RegisteredModel":
        """Read and verify the files of a checkpoint.

        Raises:
            CheckpointError: The checkpoint is missing or damaged.
        """
        checkpoint = LoadedCheckpoint(model.checkpoint, model.weights)
        return cls(model, checkpoint.metadata, checkpoint.bank, checkpoint.sha256)

    @cached_property
    def _positions(self) -> dict[str, int]:
        banks = [self.bank.entries(label) for label in self.bank.labels]
        return {entry.image_id: position for entries in banks for position, entry in enumerate(entries)}

    def describe_entry(self, entry: BankEntry) -> BankEntryInfo:
        """Describe a bank entry by a public id, which does not reveal the training image."""
        return BankEntryInfo(f"{self.card.class_names[entry.label]}-{self._positions[entry.image_id]}", entry.caption)

    def entry(self, bank_id: str) -> BankEntry:
        """Find the bank entry of a public id.

        Raises:
            ApiError: 400, the id is unknown.
        """
        name, _, number = bank_id.rpartition("-")
        if name in self.card.class_names and number.isdecimal() and number.isascii():
            label = self.card.class_names.index(name)
            entries = self.bank.entries(label) if label in self.bank.labels else ()
            if int(number) < len(entries):
                return entries[int(number)]
        raise ApiError(400, "Unknown bank entry. GET /v1/bank/{class} lists them.", "unknown_bank_id", "bank")


class ModelRegistry:
    """Models of a service by name.

    Args:
        models: Settings of the models, at least one.
        max_inference_steps: Maximum number of solver steps per image.
        with_reference: Names of the models whose real images are available.
    """

    def __init__(
        self, models: Iterable[ModelSettings], max_inference_steps: int, with_reference: Iterable[str]
    ) -> None:
        self._models = {model.name: RegisteredModel.read(model) for model in models}
        self._created, self._max_steps = int(time.time()), max_inference_steps
        self._with_reference = set(with_reference)

    def __getitem__(self, name: str) -> RegisteredModel:
        """Get a model; raises ApiError 404 for an unknown name."""
        if name not in self._models:
            raise unknown_model(self._models)
        return self._models[name]

    def has_reference(self, name: str) -> bool:
        """Check that the real images of a model are available."""
        return name in self._with_reference

    def describe(self) -> list[ModelInfo]:
        """Describe all models."""
        return [self._describe(model) for model in self._models.values()]

    def _describe(self, registered: RegisteredModel) -> ModelInfo:
        config = registered.config
        return ModelInfo(
            name=registered.settings.name,
            created=self._created,
            sha256=registered.sha256,
            class_names=registered.card.class_names,
            image_size=config.data.image_size,
            settings=SamplingSettings.from_config(config),
            max_inference_steps=self._max_steps,
            has_prototypes=config.model.prototypes.enabled and config.model.network == "uvit",
            has_reference=self.has_reference(registered.settings.name),
            aliases=registered.settings.aliases,
        )
