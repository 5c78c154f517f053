"""Factory of captioners that look at images."""

from collections.abc import Callable, Mapping

from vapray.captioning.caption_session import PromptingOptions
from vapray.captioning.captioner import Captioner
from vapray.captioning.chat import ChatModel, EventLoop
from vapray.captioning.measured.captioner import MeasuredCaptioner
from vapray.captioning.openai_chat import OpenAiChat
from vapray.captioning.prompt_selection import select_prompt_set
from vapray.captioning.vaps import VapsCaptioner
from vapray.captioning.vllm_chat import VllmChat
from vapray.config import Config

__all__ = ["build_captioner", "build_vlm_captioner", "uses_language_model"]


def build_captioner(config: Config, knowledge: Mapping[str, str] | None = None) -> Captioner:
    """Build the captioner of ``caption.captioner`` and load its model; not for ``given`` and ``drawn``.

    Args:
        config: configuration of the run.
        knowledge: see :class:`vapray.captioning.vaps.VapsCaptioner`.

    Raises:
        ConfigError: see :func:`vapray.captioning.prompt_selection.select_prompt_set`.
        BackendError: the model or the endpoint is missing.
    """
    if uses_language_model(config):
        return build_vlm_captioner(config, knowledge)
    return MeasuredCaptioner(select_prompt_set(config), config.run.seed, config.caption.omit)


def uses_language_model(config: Config) -> bool:
    """Return True if a language model writes the captions."""
    return config.caption.captioner in _MODELS


def build_vlm_captioner(config: Config, knowledge: Mapping[str, str] | None = None) -> VapsCaptioner:
    """Build a captioner that asks a language model; arguments and errors as in :func:`build_captioner`."""
    prompt_set, loop = select_prompt_set(config), EventLoop()
    model = loop.run(_MODELS[config.caption.captioner](config))
    return VapsCaptioner(model, prompt_set, _prompting(config), loop, knowledge)


async def _vllm(config: Config) -> ChatModel:
    assert config.caption.model is not None
    return await VllmChat.start(config.caption.model, config.caption.revision, config.vllm)


async def _openai(config: Config) -> ChatModel:
    assert config.caption.model is not None
    return await OpenAiChat.connect(config.caption.model, config.endpoint, config.caption.revision)


_MODELS: dict[str, Callable] = {"vllm": _vllm, "openai": _openai}


def _prompting(config: Config) -> PromptingOptions:
    caption = config.caption
    return PromptingOptions(
        caption.strategy,
        caption.omit,
        caption.knowledge_variants,
        caption.temperature,
        caption.top_p,
        caption.max_tokens,
        caption.knowledge_max_tokens,
        caption.structured_output,
        caption.retries,
        config.run.seed,
    )
