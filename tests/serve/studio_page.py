"""The studio's page, handled as a person handles it, and the backend behind it."""

import dataclasses
import time
from collections.abc import Callable, Sequence

from playwright.sync_api import Page, expect

from serve.backend import Evaluation, ImageJob, ImageResult
from serve.errors import ApiError
from tests.serve.in_process import InProcess

HOSTILE = "<img src=x onerror=alert(1)> <b>a lesion</b>"
MEASURED = {"value": 12.5, "low": 11.0, "high": 14.0}
LOST_SEED, STEPS = 404, 4
RESULTS = {
    "fid": None,
    "kid": MEASURED,
    "inception_score": MEASURED,
    "precision": MEASURED,
    "recall": {"value": 0.5, "low": None, "high": None},
    "n_reference": 60,
    "features": "those of <the run>",
    "features_sha256": "ab" * 32,
    "warnings": ["FID needs <more> pictures."],
}


class Measuring(InProcess):
    """Its evaluations move on whenever somebody looks, and one seed never gets beyond its first steps."""

    async def image(self, job: ImageJob) -> ImageResult:
        if (job.seed, job.settings.num_inference_steps) == (LOST_SEED, STEPS):
            raise ApiError(503, "The replica was lost.", "unavailable")
        return await super().image(job)

    async def evaluations(self, owner: str) -> Sequence[Evaluation]:
        for id, (whose, key, job, one) in self._evaluations.items():
            done = min(one.n, one.done + 1)
            finished = {"status": "succeeded", "results": RESULTS} if one.done == one.n else {"status": "running"}
            self._evaluations[id] = (whose, key, job, dataclasses.replace(one, done=done, **finished))
        return await super().evaluations(owner)


def has_started(page: Page) -> None:
    expect(page.get_by_label("Caption", exact=True)).not_to_have_value("")


def generate(page: Page, *, count: int = 1, seed: int = 11) -> None:
    page.get_by_role("slider", name="Images").fill(str(count))
    page.get_by_role("spinbutton", name="Seed").fill(str(seed))
    page.get_by_role("button", name="Generate").click()


def are_finished(page: Page, pictures: int) -> None:
    expect(page.locator(".open:enabled")).to_have_count(pictures)
    expect(page.get_by_role("button", name="Generate")).to_be_enabled()


def happens(what: Callable[[], bool]) -> bool:
    until = time.monotonic() + 60
    while not what() and time.monotonic() < until:
        time.sleep(0.02)
    return what()
