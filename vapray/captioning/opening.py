"""From the configuration to the captioner it names."""

from collections.abc import Callable

from vapray.captioning.captioner import Captioner
from vapray.captioning.chat import ChatModel, EventLoop
from vapray.captioning.measured.captioner import MeasuredCaptioner
from vapray.captioning.measured.measure import MEASURES
from vapray.captioning.openai_chat import OpenAiChat
from vapray.captioning.prompt_set import PromptSet, load_prompt_set
from vapray.captioning.vaps import Prompting, Settle, VapsCaptioner
from vapray.captioning.vllm_chat import VllmChat
from vapray.config import Config
from vapray.errors import ConfigError

__all__ = ["asks_model", "open_captioner", "open_language_model", "prompt_set_of"]


def open_captioner(config: Config, settle: Settle = lambda ask: ask()) -> Captioner:
    """The captioner of ``caption.captioner``, its model loaded; for one that looks at pictures.

    Args:
        config: of the run.
        settle: see :class:`vapray.captioning.vaps.VapsCaptioner`.

    Raises:
        ConfigError: see :func:`prompt_set_of`.
        BackendError: a model or an endpoint that is missing.
    """
    if asks_model(config):
        return open_language_model(config, settle)
    return MeasuredCaptioner(prompt_set_of(config), config.run.seed, config.caption.omit)


def asks_model(config: Config) -> bool:
    """Whether captions come from a language model."""
    return config.caption.captioner in _MODELS


def open_language_model(config: Config, settle: Settle = lambda ask: ask()) -> VapsCaptioner:
    """The same for a captioner that asks a language model."""
    prompt_set, loop = prompt_set_of(config), EventLoop()
    model = loop.run(_MODELS[config.caption.captioner](config))
    return VapsCaptioner(model, prompt_set, _prompting(config), loop, settle)


def prompt_set_of(config: Config) -> PromptSet:
    """The prompt set in force.

    Raises:
        ConfigError: there is none, it lacks an attribute to omit, or the measured captioner cannot measure for it.
    """
    caption, prompt_set = config.caption, load_prompt_set(config.prompt_set)
    if unknown := set(caption.omit) - set(prompt_set.attributes):
        known = ", ".join(prompt_set.attributes)
        raise ConfigError(f"caption.omit: unknown {', '.join(sorted(unknown))}; {config.prompt_set} has {known}.")
    if caption.captioner == "measured" and prompt_set.name not in MEASURES:
        raise ConfigError(
            f"prompt set {prompt_set.name!r}: the measured captioner measures {', '.join(sorted(MEASURES))} only. "
            "Take one of these, or a captioner that asks a model."
        )
    return prompt_set


async def _vllm(config: Config) -> ChatModel:
    assert config.caption.model is not None
    return await VllmChat.start(config.caption.model, config.caption.revision, config.vllm)


async def _openai(config: Config) -> ChatModel:
    assert config.caption.model is not None
    return OpenAiChat(config.caption.model, config.endpoint)


_MODELS: dict[str, Callable] = {"vllm": _vllm, "openai": _openai}


def _prompting(config: Config) -> Prompting:
    caption = config.caption
    return Prompting(
        caption.strategy,
        caption.omit,
        caption.knowledge_variants,
        caption.temperature,
        caption.top_p,
        caption.max_tokens,
        caption.json_answers,
        caption.retries,
        config.run.seed,
    )
