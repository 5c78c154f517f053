"""A computing side in this process: a real sampler, without Ray."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import httpx
import numpy as np

from serve.api.application import create_app
from serve.backend import (
    Backend,
    BankEntryInfo,
    CaptionResult,
    DistanceResult,
    Evaluation,
    EvaluationJob,
    ImageJob,
    ImageResult,
    ModelInfo,
    Neighbour,
    PartialImage,
)
from serve.errors import ApiError
from serve.settings import ModelSettings, ServiceSettings
from vapray.errors import DataError
from vapray.sampling.sampler import GeneratedImage, Sampler, SamplingSettings

NAME = "small"


class InProcess:
    """A ``Backend`` over one sampler; counts what it was asked for."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self._one_at_a_time = sampler, asyncio.Lock()
        self.jobs: list[ImageJob] = []
        self.cancelled = 0
        self.gate = asyncio.Event()
        """Closed, pictures wait before they are made."""
        self.gate.set()
        self._evaluations: dict[str, tuple[str, str | None, EvaluationJob, Evaluation]] = {}

    async def models(self) -> list[ModelInfo]:
        settings = SamplingSettings.from_config(self.sampler.config)
        names = tuple(self.sampler.class_names)
        side = self.sampler.config.data.image_size
        digest = self.sampler.model_sha256
        return [ModelInfo(NAME, 1, digest, names, side, settings, 250, True, True, ("dall-e-3", "gpt-image-1"))]

    async def ready(self) -> dict[str, bool]:
        return {NAME: bool(self.jobs)}

    async def image(self, job: ImageJob) -> ImageResult:
        self.jobs.append(job)
        try:
            await self.gate.wait()
            async with self._one_at_a_time:
                with _told_of_captions("prompt"):
                    return self._described(job, await asyncio.to_thread(self._make, job))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def image_stream(self, job: ImageJob) -> AsyncIterator[PartialImage | ImageResult]:
        """Partial ones are pictures of fewer steps."""
        steps = job.settings.num_inference_steps
        for index in range(job.previews):
            taken = max(1, steps * (index + 1) // (job.previews + 1))
            fewer = dataclasses.replace(job.settings, num_inference_steps=taken)
            made = await self.image(dataclasses.replace(job, settings=fewer))
            yield PartialImage(index, taken, steps, made.png)
        yield await self.image(job)

    def _make(self, job: ImageJob) -> GeneratedImage:
        label = 0 if job.label is None else job.label
        caption = job.caption
        if job.bank_id is not None:
            found = [entry.caption for entry in self._bank(label) if entry.id == job.bank_id]
            if not found:
                raise ApiError(400, "There is no such entry.", "unknown_bank_id", "bank")
            caption = found[0]
        return self.sampler.generate(label, caption, seed=job.seed, settings=job.settings)[0]

    def _described(self, job: ImageJob, made: GeneratedImage) -> ImageResult:
        ids = [
            entry.id
            for entry, own in zip(self._bank(made.label), self.sampler.bank.entries(made.label), strict=True)
            if own.image_id == made.source_image_id
        ]
        return ImageResult(
            made.to_png(),
            made.label,
            made.class_name,
            made.caption,
            job.bank_id or (ids[0] if ids else None),
            made.seed,
            made.model_sha256,
            len(made.caption.split()),
            2 * job.settings.num_inference_steps,
        )

    def _bank(self, label: int) -> list[BankEntryInfo]:
        name = self.sampler.class_names[label]
        return [BankEntryInfo(f"{name}-{at}", text) for at, text in enumerate(self.sampler.bank.captions(label))]

    async def bank(self, model: str, label: int, offset: int, limit: int) -> tuple[list[BankEntryInfo], int]:
        entries = self._bank(label)
        return entries[offset : offset + limit], len(entries)

    async def draw(self, model: str, label: int, seed: int) -> BankEntryInfo:
        drawn = self.sampler.bank.draw(label, seed)[0]
        return self._bank(label)[self.sampler.bank.entries(label).index(drawn)]

    async def distance(self, model: str, label: int, caption: str) -> DistanceResult:
        texts = [caption, *self.sampler.bank.captions(label)]
        with _told_of_captions("caption"):
            rows = np.stack([one.astype(np.float32).mean(0) for one in self.sampler.encoder.encode(texts)])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        away = 1 - rows @ rows.T
        nearest = int(away[0, 1:].argmin())
        others = np.sort(away[1:, 1:] + 9 * np.eye(len(texts) - 1), axis=1)[:, 0]
        found = float(away[0, 1 + nearest])
        return DistanceResult(
            self._bank(label)[nearest], found, float(np.median(others)), float((others > found).mean())
        )

    async def neighbours(self, model: str, image: bytes, k: int) -> list[Neighbour]:
        return [Neighbour(self.sampler.class_names[0], 1.0, image)] * k

    async def caption(self, model: str, image: bytes) -> CaptionResult:
        return CaptionResult("a picture", "measured captions")

    async def submit_evaluation(self, job: EvaluationJob, owner: str, idempotency_key: str | None) -> Evaluation:
        for whose, key, first, evaluation in self._evaluations.values():
            if key is not None and (whose, key) == (owner, idempotency_key):
                if first != job:
                    raise ApiError(409, "This key stands for another request.", "idempotency_conflict")
                return evaluation
        id = f"ev-{len(self._evaluations)}"
        source = "uploaded" if job.images else "generated"
        made = Evaluation(
            id, job.model, "queued", int(time.time()), job.n or job.images.count, 0, source, job.generated
        )
        self._evaluations[id] = (owner, idempotency_key, job, made)
        return made

    async def evaluation(self, id: str, owner: str) -> Evaluation:
        whose, *_, made = self._evaluations.get(id, (None, None))
        if made is None or whose != owner:
            raise ApiError(404, "There is no such evaluation.", "unknown_evaluation", "id")
        return made

    async def delete_evaluation(self, id: str, owner: str) -> None:
        await self.evaluation(id, owner)
        del self._evaluations[id]

    async def evaluations(self, owner: str) -> Sequence[Evaluation]:
        return [made for whose, *_, made in reversed(self._evaluations.values()) if whose == owner]

    async def metrics(self) -> str:
        return f"vapray_images_total {len(self.jobs)}\n"


@contextmanager
def _told_of_captions(param: str) -> Iterator[None]:
    """A caption that the text encoder cannot take is the client's to mend."""
    try:
        yield
    except DataError:
        raise ApiError(400, "The text encoder cannot take this caption.", "invalid_caption", param) from None


def service(**settings: object) -> ServiceSettings:
    """Settings of a service with everything on; its checkpoint is never opened here."""
    wanted = {"captioner": {}, "show_training_images": True, **settings}
    return ServiceSettings.model_validate({"models": [ModelSettings(name=NAME, checkpoint="-")], **wanted})


class Served:
    """A service in this process, and a client of it.

    Args:
        backend: computes.
        key: what the client presents.
        host: where the client is.
        settings: of ``ServiceSettings``.
    """

    def __init__(
        self, backend: Backend, key: str | None = None, *, host: str = "127.0.0.1", **settings: object
    ) -> None:
        self.app = create_app(backend, service(**settings))
        self.transport = httpx.ASGITransport(self.app, client=(host, 1))
        self.headers = {"authorization": f"Bearer {key}"} if key else {}
        self.runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.close()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self.transport, base_url="http://localhost", headers=self.headers)

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            async with self.client() as client:
                return await client.request(method, path, **request)

        return self.runner.run(once())

    def post(self, path: str, body: object, **request: Any) -> httpx.Response:
        return self.ask("POST", path, json=body, **request)

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.ask("GET", path, **request)

    def images(self, **body: object) -> httpx.Response:
        return self.post("/v1/images/generations", {"num_inference_steps": 2, **body})
