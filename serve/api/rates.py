"""How many images a key may ask for in a minute; each process of the HTTP side counts its own."""

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from serve.api.owners import Owner
from serve.errors import ApiError

__all__ = ["Rates"]


class Rates:
    """A moving window for each key."""

    def __init__(self) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def take(self, owner: Owner, images: int) -> dict[str, str]:
        """Count images.

        Returns:
            OpenAI's headers.

        Raises:
            ApiError: 429 when the key has to wait.
        """
        if owner.images_per_minute is None:
            return {}
        allowed = RateLimitItemPerMinute(owner.images_per_minute)
        taken = self._window.hit(allowed, owner.id, cost=images)
        stats = self._window.get_window_stats(allowed, owner.id)
        wait = max(1, math.ceil(stats.reset_time - time.time()))
        if not taken:
            raise ApiError(
                429,
                f"The key {owner.id} may ask for {owner.images_per_minute} images a minute; {stats.remaining} are left "
                f"and {images} were asked for. Ask for fewer, or later.",
                "rate_limit_exceeded",
                retry_after_s=wait,
            )
        return {
            "x-ratelimit-limit-requests": str(owner.images_per_minute),
            "x-ratelimit-remaining-requests": str(stats.remaining),
            "x-ratelimit-reset-requests": f"{wait}s",
        }
