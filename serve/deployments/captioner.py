"""Describes pictures with the captioner of a checkpoint's run: measured, or a model through vLLM or an endpoint."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

from serve.backend import CaptionResult
from serve.deployments.image_decoding import decode_square
from serve.errors import ApiError, unavailable
from vapray.captioning.captioner import CaptionDraft
from vapray.captioning.opening import open_captioner
from vapray.errors import BackendError, EngineDied
from vapray.sampling.opening import read_card

__all__ = ["CaptionerReplica"]

MAX_CONCURRENT = 64
"""Pictures that wait for the engine; how many of them it takes at a time is its own affair."""


class CaptionerReplica:
    """A replica; several pictures at a time share its engine.

    Args:
        checkpoint: folder ``files/final`` whose config names the captioner.

    Raises:
        BackendError: a model or an endpoint that is missing.
        ConfigError: the prompt set is missing.
    """

    def __init__(self, checkpoint: str) -> None:
        config = read_card(checkpoint).config
        self._side = config.caption.image_side
        # Captions that were given come from nobody who could be asked again.
        self._captioner = None if config.caption.captioner == "given" else open_captioner(config)
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT, thread_name_prefix="captioner")
        self._dead: EngineDied | None = None

    async def check_health(self) -> None:
        """Raises what ended the engine: only a new process can have a new one."""
        if self._dead:
            raise self._dead

    async def caption(self, image: bytes) -> CaptionResult:
        """A caption; the same picture file gives the same.

        Raises:
            ApiError: 400, it cannot be decoded or described; 404, the model's captions were given; 503, the captioner
                does not answer.
        """
        if self._captioner is None:
            raise ApiError(
                404, "This model's captions were written by hand; nothing describes pictures.", "no_captioner"
            )
        frame = await asyncio.to_thread(decode_square, image, self._side)
        ask, id = self._captioner.caption, hashlib.sha256(image).hexdigest()
        try:
            (answer,) = await asyncio.get_running_loop().run_in_executor(self._threads, ask, [frame], [id])
        except EngineDied as error:
            self._dead = error
            raise unavailable("The captioner's engine died and is being replaced.", 30) from None
        except BackendError:
            raise unavailable("The captioner does not answer.", 30) from None
        if not isinstance(answer, CaptionDraft):
            raise ApiError(400, f"No caption: {answer.reason}. Send another picture.", "not_described", "image")
        name = self._captioner.name
        return CaptionResult(answer.caption, "measured captions" if name == "measured" else name)
