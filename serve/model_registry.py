"""What the service knows of its models without loading one: their cards and prompt banks."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from serve.backend import BankEntryInfo, ModelInfo
from serve.errors import ApiError
from serve.settings import ModelSettings
from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.checkpoint import read_file
from vapray.config import Config
from vapray.files import FileStore
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.opening import Card, read_bank, read_card

__all__ = ["ModelRegistry", "RegisteredModel"]


@dataclass(frozen=True)
class RegisteredModel:
    """A model's files but for its weights."""

    model: ModelSettings
    card: Card
    bank: PromptBank
    sha256: str
    """Of its weights."""

    @property
    def config(self) -> Config:
        """That it was trained with."""
        return self.card.config

    @classmethod
    def read(cls, model: ModelSettings) -> "RegisteredModel":
        """Read them, verified.

        Raises:
            CheckpointError: no checkpoint, or a damaged one.
        """
        files = FileStore(model.checkpoint)
        card = read_card(model.checkpoint)
        bank = read_bank(read_file(files, "", "bank.parquet"), files.path("bank.parquet"))
        digests = json.loads(files.read("manifest.json") or b"{}")
        return cls(model, card, bank, digests.get(f"{model.weights}.safetensors", ""))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {
            entry.image_id: place for label in self.bank.labels for place, entry in enumerate(self.bank.entries(label))
        }

    def caption(self, entry: BankEntry) -> BankEntryInfo:
        """An entry under a name that says nothing of the image that it was written for."""
        return BankEntryInfo(f"{self.card.class_names[entry.label]}-{self._places[entry.image_id]}", entry.caption)

    def entry(self, bank_id: str) -> BankEntry:
        """The entry of a name.

        Raises:
            ApiError: there is none.
        """
        name, _, place = bank_id.rpartition("-")
        if name in self.card.class_names and place.isdecimal() and place.isascii():
            label = self.card.class_names.index(name)
            entries = self.bank.entries(label) if label in self.bank.labels else ()
            if int(place) < len(entries):
                return entries[int(place)]
        raise ApiError(
            400, "No such entry in the prompt bank. GET /v1/bank/{class} lists them.", "unknown_bank_id", "bank"
        )


class ModelRegistry:
    """The models of a service.

    Args:
        models: at least one.
        max_inference_steps: that a request may ask for.
        with_reference: names of those whose real pictures are at hand.
    """

    def __init__(
        self, models: Iterable[ModelSettings], max_inference_steps: int, models_with_reference: Iterable[str]
    ) -> None:
        self._known = {model.name: RegisteredModel.read(model) for model in models}
        self._created, self._max_steps = int(time.time()), max_inference_steps
        self._models_with_reference = set(models_with_reference)

    def __getitem__(self, name: str) -> RegisteredModel:
        """A model; ApiError for an unknown one."""
        if name not in self._known:
            known = ", ".join(self._known)
            raise ApiError(404, f"There is no such model. There are: {known}.", "unknown_model", "model")
        return self._known[name]

    def has_reference(self, name: str) -> bool:
        """Whether a model's real pictures are at hand."""
        return name in self._models_with_reference

    def cards(self) -> list[ModelInfo]:
        """As clients are told."""
        return [self._card(known) for known in self._known.values()]

    def _card(self, known: RegisteredModel) -> ModelInfo:
        config = known.config
        return ModelInfo(
            name=known.model.name,
            created=self._created,
            sha256=known.sha256,
            class_names=known.card.class_names,
            image_size=config.data.image_size,
            settings=SamplingSettings.of(config),
            max_inference_steps=self._max_steps,
            has_prototypes=config.model.prototypes.enabled and config.model.network == "uvit",
            has_reference=self.has_reference(known.model.name),
        )
