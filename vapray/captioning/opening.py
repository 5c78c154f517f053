"""Factory of captioners that look at images."""

from collections.abc import Callable

from vapray.captioning.asking import Prompting
from vapray.captioning.captioner import Captioner
from vapray.captioning.chat import ChatModel, EventLoop
from vapray.captioning.measured.captioner import MeasuredCaptioner
from vapray.captioning.openai_chat import OpenAiChat
from vapray.captioning.prompt_choice import prompt_set_of
from vapray.captioning.vaps import Settle, VapsCaptioner
from vapray.captioning.vllm_chat import VllmChat
from vapray.config import Config

__all__ = ["asks_model", "open_captioner", "open_language_model"]


def open_captioner(config: Config, settle: Settle = lambda ask: ask()) -> Captioner:
    """Build the captioner of ``caption.captioner`` and load its model; not for ``given`` and ``drawn``.

    Args:
        config: configuration of the run.
        settle: see :class:`vapray.captioning.vaps.VapsCaptioner`.

    Raises:
        ConfigError: see :func:`vapray.captioning.prompt_choice.prompt_set_of`.
        BackendError: the model or the endpoint is missing.
    """
    if asks_model(config):
        return open_language_model(config, settle)
    return MeasuredCaptioner(prompt_set_of(config), config.run.seed, config.caption.omit)


def asks_model(config: Config) -> bool:
    """Return True if a language model writes the captions."""
    return config.caption.captioner in _MODELS


def open_language_model(config: Config, settle: Settle = lambda ask: ask()) -> VapsCaptioner:
    """Build a captioner that asks a language model; arguments and errors as in :func:`open_captioner`."""
    prompt_set, loop = prompt_set_of(config), EventLoop()
    model = loop.run(_MODELS[config.caption.captioner](config))
    return VapsCaptioner(model, prompt_set, _prompting(config), loop, settle)


async def _vllm(config: Config) -> ChatModel:
    assert config.caption.model is not None
    return await VllmChat.start(config.caption.model, config.caption.revision, config.vllm)


async def _openai(config: Config) -> ChatModel:
    assert config.caption.model is not None
    return await OpenAiChat.connect(config.caption.model, config.endpoint, config.caption.revision)


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
