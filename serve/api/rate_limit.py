"""Rate limits of API keys, in images per minute; each ingress replica counts its own requests."""

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from serve.api.authentication import Principal
from serve.errors import ApiError

__all__ = ["RateLimiter"]


class RateLimiter:
    """Moving-window rate limiter per key."""

    def __init__(self) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def acquire(self, principal: Principal, images: int) -> dict[str, str]:
        """Count images of a key.

        Returns:
            Rate limit headers in OpenAI's format.

        Raises:
            ApiError: 429, the limit is reached; 400, the request exceeds the limit of a minute.
        """
        limit = principal.images_per_minute
        if limit is None:
            return {}
        if images > limit:
            raise ApiError(400, f"n = {images}: the limit of the key is {limit} per minute.", "invalid_value", "n")
        rate = RateLimitItemPerMinute(limit)
        accepted = self._window.hit(rate, principal.id, cost=images)
        stats = self._window.get_window_stats(rate, principal.id)
        wait = max(1, math.ceil(stats.reset_time - time.time()))
        if not accepted:
            message = f"Rate limit: {limit} images per minute, {stats.remaining} left, {images} requested."
            raise ApiError(429, f"{message} Request fewer, or retry later.", "rate_limit_exceeded", retry_after_s=wait)
        return {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(stats.remaining),
            "x-ratelimit-reset-requests": f"{wait}s",
        }
