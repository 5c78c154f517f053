"""How many images a key may ask for in a minute; each process of the HTTP side counts its own."""

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from serve.api.principals import Principal
from serve.errors import ApiError

__all__ = ["RateLimiter"]


class RateLimiter:
    """A moving window for each key."""

    def __init__(self) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def acquire(self, principal: Principal, images: int) -> dict[str, str]:
        """Count images.

        Returns:
            OpenAI's headers.

        Raises:
            ApiError: 429 when the key has to wait, 400 for more than it can ever have.
        """
        limit = principal.images_per_minute
        if limit is None:
            return {}
        if images > limit:
            raise ApiError(
                400, f"n = {images}: the key {principal.id} may ask for {limit} a minute.", "invalid_value", "n"
            )
        allowed = RateLimitItemPerMinute(limit)
        taken = self._window.hit(allowed, principal.id, cost=images)
        stats = self._window.get_window_stats(allowed, principal.id)
        wait = max(1, math.ceil(stats.reset_time - time.time()))
        if not taken:
            raise ApiError(
                429,
                f"The key {principal.id} may ask for {limit} images a minute; {stats.remaining} are left "
                f"and {images} were asked for. Ask for fewer, or later.",
                "rate_limit_exceeded",
                retry_after_s=wait,
            )
        return {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(stats.remaining),
            "x-ratelimit-reset-requests": f"{wait}s",
        }
