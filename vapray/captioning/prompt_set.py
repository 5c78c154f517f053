"""A prompt set: the three questions of one imaging modality, and its visual attributes with their words.

Prompt sets are YAML files (``captioning/prompts``). A new modality is a new file, given by its path. What only rich
captions say stands in a file of its own (``captioning/prompts/rich``), so that a plain prompt set never depends on it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from vapray.config.strict_yaml import parse_yaml
from vapray.errors import ConfigError

Kind = Literal["choice", "share", "set"]
Detail = Literal["plain", "rich"]
"""Detail of captions, as in ``caption.detail``."""
Words = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Questions:
    """The three questions. Source: VAP-Diffusion (arXiv 2506.23641), section 2.2."""

    impression: str
    """Question 1, asked with the image: describe, draw no conclusions."""
    knowledge: str
    """Question 2, asked without an image: how the attributes show in this modality."""
    reasoning: str
    """Question 3, asked with the image and both answers: the caption, short and concise."""


@dataclass(frozen=True, eq=False)
class AttributeSpec:
    """One visual attribute: its values and the words for each; compared and hashed by identity."""

    kind: Kind
    """``choice``: one value; ``set``: several; ``share``: a number in 0..1, its values are size words."""
    values: tuple[str, ...]
    words: Words
    """Phrases for each value, written and read."""
    reads: Words = field(default_factory=dict)
    """Phrases that are read only."""
    beside: Words = field(default_factory=dict)
    """Words that mean a value only next to one of ``subjects``."""
    subjects: tuple[str, ...] = ()
    """Nouns of sentences about this attribute."""
    decoys: tuple[str, ...] = ()
    """Nouns of other things whose share a sentence may give."""
    writes: tuple[str, ...] = ()
    """Patterns for a share, with ``{percent}`` and ``{worded}``."""
    bounds: tuple[float, ...] = ()
    """Upper ends of the size words' ranges, but for the last word's."""
    typical: tuple[float, ...] = ()
    """The share that each size word alone stands for."""
    optional: bool = False
    """True if an image may lack the attribute."""

    def worded(self, share: float) -> str:
        """Return the size word whose range holds ``share``."""
        return self.values[sum(share >= bound for bound in self.bounds)]

    def typical_share(self, value: str) -> float:
        """Return the share that the size word ``value`` alone stands for."""
        return self.typical[self.values.index(value)]


@dataclass(frozen=True)
class Template:
    """Texts with slots, for images whose attributes equal ``when``."""

    texts: tuple[str, ...]
    when: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Texts:
    """Templates of captions that are written without a language model."""

    impression: tuple[Template, ...] = ()
    reasoning: tuple[Template, ...] = ()
    knowledge: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PromptSet:
    """Questions, attributes and wording of one modality; ``version`` changes with any byte of the file.

    Compared and hashed by identity, so that what is compiled from it can be kept.
    """

    name: str
    version: str
    questions: Questions
    attributes: Mapping[str, AttributeSpec]
    texts: Texts = Texts()
    rewrite: Mapping[str, str] = field(default_factory=dict)
    """Phrases to replace before reading, such as ``skin lesion`` by ``lesion``."""
    ignore: tuple[str, ...] = ()
    """Phrases that hold a value's word without meaning it."""
    implies: Mapping[str, Mapping[str, Mapping[str, str | float]]] = field(default_factory=dict)
    """Attribute -> value -> implied values of other attributes."""
    detail: Detail = "plain"
    """``rich`` if the rich part of the modality is included."""


def known_prompt_sets() -> tuple[str, ...]:
    """Return the names of the prompt sets that come with vapray, sorted."""
    folder = resources.files("vapray.captioning.prompts")
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_prompt_set(name_or_path: str | Path, detail: Detail = "plain") -> PromptSet:
    """Read a prompt set by its name, or from a user's YAML file.

    Args:
        name_or_path: name of a prompt set that comes with vapray, or path of a YAML file.
        detail: ``rich`` adds the rich part, which the prompt set ``dermoscopy`` has.

    Raises:
        ConfigError: unknown name, a file that cannot be read or lacks a part, or no rich part.
    """
    where, text = _read(name_or_path)
    data, _ = parse_yaml(text, where=where)
    if missing := list(_missing_parts(data)):
        raise ConfigError(f"{where}: no {', '.join(missing)}. {_EXAMPLE}")
    try:
        return _prompt_set(data, text) if detail == "plain" else _rich_prompt_set(where, data, text)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{where}: not a prompt set ({type(error).__name__}: {error}). {_EXAMPLE}") from error


_EXAMPLE = "See vapray/captioning/prompts/dermoscopy.yaml for a complete one."


def _missing_parts(data: Any) -> Iterator[str]:
    parts: dict[str, Any] = data if isinstance(data, dict) else {}
    yield from (name for name in ("name", "number", "questions", "attributes") if not parts.get(name))
    questions = parts.get("questions")
    if questions:
        known = questions if isinstance(questions, dict) else {}
        yield from (f"questions.{step.name}" for step in fields(Questions) if step.name not in known)


def _read(name_or_path: str | Path) -> tuple[str, str]:
    name = str(name_or_path)
    if name in known_prompt_sets():
        return name, (resources.files("vapray.captioning.prompts") / f"{name}.yaml").read_text("utf-8")
    if Path(name).suffix not in {".yaml", ".yml"}:
        raise ConfigError(
            f"caption.prompt_set = {name!r}: wanted one of {', '.join(known_prompt_sets())}, or a path to a YAML file."
        )
    try:
        return name, Path(name).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 at byte {error.start}. Save the prompt set as UTF-8.") from error
    except OSError as error:
        raise ConfigError(
            f"{name}: cannot be read ({error.strerror}). Give caption.prompt_set an existing YAML file."
        ) from error


def _rich_prompt_set(name: str, data: dict[str, Any], text: str) -> PromptSet:
    file = resources.files("vapray.captioning.prompts") / "rich" / f"{name}.yaml"
    if name not in known_prompt_sets() or not file.is_file():
        raise ConfigError(f"{name}: this prompt set has no rich part. Fix: set caption.detail to plain.")
    rich_text = file.read_text("utf-8")
    rich, _ = parse_yaml(rich_text, where=f"rich/{name}.yaml")
    kept = {attribute: entry for attribute, entry in data["attributes"].items() if attribute not in rich["without"]}
    joint = data | {"attributes": kept | rich["attributes"], "texts": rich["texts"]}
    return replace(_prompt_set(joint, text + rich_text), detail="rich")


def _prompt_set(data: dict[str, Any], text: str) -> PromptSet:
    attributes = {name: _attribute(name, entry) for name, entry in data["attributes"].items()}
    texts = data.get("texts") or {}
    return PromptSet(
        name=str(data["name"]),
        version=f"{int(data['number'])}-{hashlib.sha256(text.encode()).hexdigest()[:12]}",
        questions=Questions(**{step: str(question).strip() for step, question in data["questions"].items()}),
        attributes=attributes,
        texts=Texts(
            impression=_templates(texts.get("impression")),
            reasoning=_templates(texts.get("reasoning")),
            knowledge=tuple(entry.strip() for entry in texts.get("knowledge") or ()),
        ),
        rewrite=data.get("rewrite") or {},
        ignore=tuple(data.get("ignore") or ()),
        implies=data.get("implies") or {},
    )


def _attribute(name: str, entry: dict[str, Any]) -> AttributeSpec:
    if entry["kind"] not in get_args(Kind):
        raise ValueError(f"attributes.{name}.kind is {entry['kind']!r}; accepted: {', '.join(get_args(Kind))}")
    words = _words(entry["words"])
    spec = AttributeSpec(
        kind=entry["kind"],
        values=tuple(words),
        words=words,
        reads=_words(entry.get("reads")),
        beside=_words(entry.get("beside")),
        **{key: tuple(entry.get(key) or ()) for key in ("subjects", "decoys", "writes", "bounds", "typical")},
        optional=bool(entry.get("optional")),
    )
    if unknown := (set(spec.reads) | set(spec.beside)) - set(words):
        raise ValueError(f"attributes.{name}: {', '.join(sorted(unknown))} stands in reads or beside, not in words")
    if spec.kind == "share" and (len(spec.bounds), len(spec.typical)) != (len(words) - 1, len(words)):
        raise ValueError(f"attributes.{name}: size words want one typical share each and one bound less")
    return spec


def _words(entry: dict[str, list[str]] | None) -> Words:
    return {str(value): tuple(str(word) for word in words) for value, words in (entry or {}).items()}


def _templates(entries: list[dict[str, Any]] | None) -> tuple[Template, ...]:
    return tuple(Template(texts=tuple(entry["texts"]), when=entry.get("when") or {}) for entry in entries or ())
