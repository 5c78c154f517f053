"""Captioner deployment: captions images with the captioner of a checkpoint's run."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

from serve.backend import CaptionResult
from serve.deployments.image_decoding import decode_square
from serve.errors import ApiError, unavailable
from vapray.captioning.captioner import CaptionDraft
from vapray.captioning.factory import build_captioner
from vapray.errors import BackendError, EngineDeadError
from vapray.sampling.checkpoint_loading import read_metadata

__all__ = ["CaptionerReplica"]

MAX_CONCURRENT = 64
"""Images submitted to the engine at a time; the engine batches them itself."""


class CaptionerReplica:
    """Replica of the captioner; concurrent requests share its engine.

    Args:
        checkpoint: Folder ``files/final`` whose config names the captioner.

    Raises:
        BackendError: The model or endpoint is missing.
        ConfigError: The prompt set is missing.
    """

    def __init__(self, checkpoint: str) -> None:
        config = read_metadata(checkpoint).config
        self._side = config.caption.image_size
        # Given and drawn captions were not written from images.
        is_blind = config.caption.captioner in ("precomputed", "ground_truth")
        self._captioner = None if is_blind else build_captioner(config)
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT, thread_name_prefix="captioner")
        self._failure: EngineDeadError | None = None

    async def check_health(self) -> None:
        """Raise the failure of the engine: a new engine needs a new process."""
        if self._failure:
            raise self._failure

    async def caption(self, image: bytes) -> CaptionResult:
        """Caption an image file; the same file gets the same caption.

        Raises:
            ApiError: 400, the image cannot be decoded or captioned; 404, the model's captions were given or drawn; 503,
                the captioner does not respond.
        """
        if self._captioner is None:
            raise ApiError(404, "No captioner: the captions of this model were given or drawn.", "no_captioner")
        pixels = await asyncio.to_thread(decode_square, image, self._side)
        caption, id = self._captioner.caption, hashlib.sha256(image).hexdigest()
        try:
            (draft,) = await asyncio.get_running_loop().run_in_executor(self._threads, caption, [pixels], [id])
        except EngineDeadError as error:
            self._failure = error
            raise unavailable("The captioner's engine failed and is being restarted.", 30) from None
        except BackendError:
            raise unavailable("The captioner does not respond.", 30) from None
        if not isinstance(draft, CaptionDraft):
            raise ApiError(400, f"No caption: {draft.reason}. Send another image.", "not_described", "image")
        name = self._captioner.name
        return CaptionResult(draft.caption, "measured captions" if name == "measured" else name)
