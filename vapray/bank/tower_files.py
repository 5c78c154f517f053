"""Files of a text encoder."""

from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vapray.config import TextEncoderSection
from vapray.errors import BackendError, ConfigError
from vapray.pretrained.model_files import ModelFileSpec, hub_folder, read_json_object, resolve_model_folder, sha256_of
from vapray.pretrained.vision_tower_files import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS

__all__ = ["TowerFiles", "find_tower", "require_packages"]

PACKAGES = {"open_clip": ("open_clip", "transformers"), "transformers": ("transformers",)}
CONFIGS = {"open_clip": OPEN_CLIP_CONFIG, "transformers": "config.json"}
# In the libraries' order of preference: the first existing file is loaded.
WEIGHTS = {
    "open_clip": OPEN_CLIP_WEIGHTS,
    "transformers": ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin", "pytorch_model-*-of-*.bin"),
}
TOKENIZERS = (
    "tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
WORDS_OF_A_TOKENIZER = TOKENIZERS[:7]
WIDTHS, DEPTHS = ("hidden_size", "d_model", "dim", "n_embd"), ("num_hidden_layers", "num_layers", "n_layers", "n_layer")


@dataclass(frozen=True)
class TowerFiles:
    """Complete files of a text encoder.

    Attributes:
        kind: ``open_clip`` or ``transformers``.
        folder: folder that contains them.
        text_config: ``config.json`` of the text tower; in another folder if this one has none.
    """

    kind: str
    folder: Path
    text_config: Path

    @cached_property
    def weights(self) -> list[Path]:
        """One weights file, or its shards."""
        return _weights(self.kind, self.folder)

    @cached_property
    def sha256(self) -> str:
        """sha256 of all files that determine a context, by name and content: weights, configurations, tokenizer."""
        return sha256_of(self.deciding)

    @property
    def deciding(self) -> list[Path]:
        """Files that determine a context; together with the index of shards they are all that loading needs."""
        there = (self.folder / name for name in (CONFIGS[self.kind], *TOKENIZERS))
        return [*self.weights, self.text_config, *(path for path in there if path.is_file())]

    @property
    def indices(self) -> list[Path]:
        """Index files of sharded weights."""
        return sorted(self.folder.glob("*.index.json"))

    @property
    def width(self) -> int:
        """D, the width of a token."""
        return self._size(WIDTHS)

    @property
    def depth(self) -> int:
        """Number of blocks of the text tower."""
        return self._size(DEPTHS)

    @property
    def longest(self) -> int | None:
        """Maximum number of tokens of the model, special ones included; None: no limit is declared."""
        tokenizer = self.folder / "tokenizer_config.json"
        limits = [
            self._text.get("max_position_embeddings"),
            read_json_object(tokenizer).get("model_max_length") if tokenizer.is_file() else None,
            self.clip.get("context_length", 77) if self.kind == "open_clip" else None,
        ]
        return min((int(limit) for limit in limits if limit), default=None)

    @property
    def clip(self) -> dict[str, Any]:
        """Settings of the text tower in open_clip_config.json; for open_clip."""
        return _clip_of(self.folder)

    @property
    def _text(self) -> dict[str, Any]:
        config = read_json_object(self.text_config)
        return dict(config.get("text_config") or config)

    def _size(self, names: tuple[str, ...]) -> int:
        found = [self._text[name] for name in names if isinstance(self._text.get(name), int)]
        if not found:
            raise ConfigError(
                f"{self.text_config}: not the config of a text encoder: none of {', '.join(names)} in it."
            )
        return int(found[0])


def find_tower(settings: TextEncoderSection, *, download: bool = True) -> TowerFiles:
    """Find the files of ``text_encoder.model``.

    Args:
        settings: section ``bank``, with encoder open_clip or transformers.
        download: download files that are not in the cache.

    Raises:
        ConfigError: no such directory, or files missing in it.
        BackendError: not in the cache and not downloadable.
    """
    kind, missing = settings.encoder, partial(_missing, settings.encoder)
    wanted = ModelFileSpec("text_encoder.model", _choices(kind), missing)
    folder = resolve_model_folder(settings.model or "", settings.revision, wanted, download=download)
    return TowerFiles(kind, folder, _text_config(kind, folder, download))


def require_packages(kind: str) -> None:
    """Refuse an encoder whose packages are not installed.

    Raises:
        BackendError: names the extra to install.
    """
    missing = [name for name in PACKAGES[kind] if find_spec(name) is None]
    if missing:
        raise BackendError(
            f"text_encoder.encoder = {kind}: {' and '.join(missing)} not installed. Fix: install the extra: "
            "pip install --constraint constraints.txt '.[clip]'"
        )


def _missing(kind: str, folder: Path) -> list[str]:
    wanted = {
        CONFIGS[kind]: (folder / CONFIGS[kind]).is_file(),
        f"weights ({', '.join(WEIGHTS[kind])})": bool(_weights(kind, folder)),
        f"tokenizer ({', '.join(WORDS_OF_A_TOKENIZER)})": any(
            (folder / name).is_file() for name in WORDS_OF_A_TOKENIZER
        ),
    }
    return [name for name, there in wanted.items() if not there]


def _weights(kind: str, folder: Path) -> list[Path]:
    return next((found for pattern in WEIGHTS[kind] if (found := sorted(folder.glob(pattern)))), [])


def _text_config(kind: str, folder: Path, download: bool) -> Path:
    """Find the config of the text tower; open_clip folders without one name the model that it comes from."""
    beside = folder / "config.json"
    if kind == "transformers" or beside.is_file():
        return beside
    name = _clip_of(folder).get("hf_model_name")
    if not name:
        raise ConfigError(
            f"{folder}/open_clip_config.json: no model_cfg.text_cfg.hf_model_name; only text towers of "
            "transformers are supported. Fix: for OpenAI's CLIP use its transformers version with "
            "text_encoder.encoder = transformers."
        )
    try:
        folder_of_name = hub_folder(
            name, None, [["config.json"]], lambda found: (found / "config.json").is_file(), download
        )
        return folder_of_name / "config.json"
    except BackendError as error:
        raise BackendError(f"{error} Or put the config.json of {name} into {folder}.") from None


def _clip_of(folder: Path) -> dict[str, Any]:
    model = read_json_object(folder / CONFIGS["open_clip"]).get("model_cfg")
    text = model.get("text_cfg") if isinstance(model, dict) else None
    if not isinstance(text, dict):
        raise ConfigError(
            f"{folder}/{CONFIGS['open_clip']}: no model_cfg.text_cfg: not the config of an open_clip model."
        )
    return text


def _choices(kind: str) -> list[list[str]]:
    """List the files to request: safetensors first, then the other format."""
    small = [CONFIGS[kind], "config.json", "*.index.json", *TOKENIZERS]
    return [
        [*small, *(pattern for pattern in WEIGHTS[kind] if pattern.endswith(suffix))]
        for suffix in (".safetensors", ".bin")
    ]
