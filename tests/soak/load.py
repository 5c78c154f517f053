"""Clients as people write them: OpenAI's, with its retries, on many threads."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import openai

RETRIES = 8
"""Retries of a client, the number that docs/how-to/serving.md recommends."""


class Load:
    """Images of consecutive seeds, asked for until the end of the block.

    Args:
        base: address of the service.
        clients: requests at a time.
        steps: solver steps of an image.
        key: API key.
    """

    def __init__(self, base: str, clients: int, steps: int = 12, key: str = "none") -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0
        self._client = openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=RETRIES, timeout=120)
        self._steps, self._next, self._lock = steps, 0, threading.Lock()
        self._ended = threading.Event()
        self._threads = ThreadPoolExecutor(clients)
        self._running = [self._threads.submit(self._ask) for _ in range(clients)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._threads.shutdown()
        self._client.close()

    @property
    def answered(self) -> int:
        """Requests that have ended, one way or the other."""
        return self.outcomes.total()

    def wait_for(self, answers: int, seconds: float = 300) -> None:
        """Wait until so many more requests have ended."""
        goal, deadline = self.answered + answers, time.monotonic() + seconds
        while self.answered < goal:
            assert time.monotonic() < deadline, self.outcomes
            time.sleep(0.1)

    def _ask(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                seed, self._next = self._next, self._next + 1
            extra = {"label": seed % 3, "seed": seed, "num_inference_steps": self._steps}
            begun = time.monotonic()
            try:
                found = self._client.images.generate(prompt="a round brown lesion", extra_body=extra)
                outcome = "answered" if len(found.data or ()) == 1 else "empty"
            except openai.APIError as error:
                outcome = f"{type(error).__name__}: {error}"[:200]
            with self._lock:
                self.outcomes[outcome] += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
