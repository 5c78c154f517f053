"""What is kept of evaluations: whole files in the service's ``state``, so that they survive every process.

Execution is at-least-once with one outcome. A record without an outcome whose last sign of life is older than
``STALE_SECONDS`` may be given to a runner again. Every method waits for files: call them from a thread.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

from serve.backend import Evaluation, EvaluationJob
from serve.errors import ApiError
from serve.evaluations.evaluation_paths import (
    IMAGES_FOLDER,
    created_at,
    evaluation_folder,
    hash_owner,
    idempotency_path,
    images_path,
    is_evaluation_id,
    new_evaluation_id,
    owner_folder,
    record_path,
)
from serve.evaluations.job_serialization import job_digest, job_from_dict, job_to_dict, pack_images, unpack_images
from vapray.files import FileStore

__all__ = ["STALE_SECONDS", "EvaluationStore", "EvaluationTask"]

STALE_SECONDS = 30.0
"""Without a sign of life an evaluation counts as abandoned."""
MAX_ATTEMPTS = 5
"""Runners that may take up an evaluation: one whose runners all die would go on for ever."""
MAX_LISTED = 100
"""The newest ones."""
MAX_READERS = 8
"""Evaluations that are looked up at a time."""
UPLOAD_TTL_SECONDS = 86_400.0
"""Of uploaded pictures whose evaluation does not end."""


@dataclass(frozen=True)
class EvaluationTask:
    """What a runner has to measure."""

    job: EvaluationJob
    """Without its uploaded pictures."""
    uploaded: int
    """Pictures that ``EvaluationStore.images`` has; 0: they have to be generated."""


class EvaluationStore:
    """The evaluations of a service.

    Args:
        state: folder or URI that all of its processes see.
        clock: seconds since the epoch.
    """

    def __init__(self, state: str, clock: Callable[[], float] = time.time) -> None:
        self._files, self._clock = FileStore(state), clock

    def create(self, job: EvaluationJob, owner: str, idempotency_key: str | None = None) -> Evaluation:
        """Take an order; the same owner and key give the first one again.

        Raises:
            ApiError: 409, the key stands for another order.
        """
        digest = job_digest(job)
        if idempotency_key and (earlier := self._of_key(owner, idempotency_key, digest)):
            return self.get(earlier, owner)
        id = new_evaluation_id(self._clock())
        self._write_job(id, job, owner)
        if idempotency_key and (faster := self._lost_to(owner, idempotency_key, id, digest)):
            return self.get(faster, owner)
        self._files.create(f"{owner_folder(owner)}/{id}", b"")
        return self.get(id, owner)

    def get(self, id: str, owner: str) -> Evaluation:
        """Where it stands.

        Raises:
            ApiError: 404, none of this owner has this id.
        """
        record = self._record(id)
        if record is None or record["owner"] != hash_owner(owner):
            raise ApiError(404, "There is no such evaluation of yours. GET /v1/evaluations lists them.", "not_found")
        return self._evaluation(id, record)

    def list_for_owner(self, owner: str) -> Sequence[Evaluation]:
        """Of an owner, newest first."""
        ids = self._files.names(owner_folder(owner))[::-1][:MAX_LISTED]
        with ThreadPoolExecutor(MAX_READERS) as pool:
            found = pool.map(lambda id: (id, self._record(id)), ids)
            return list(pool.map(lambda one: self._evaluation(*one), [(id, record) for id, record in found if record]))

    def dispatch(self, id: str) -> bool:
        """Whether a runner is to be called now; the next ``STALE_SECONDS`` it is not to be called again.

        True for a new record, and for one without an outcome that shows no sign of life.
        """
        if self._outcome(id) or not self._is_stale(id):
            return False
        # Without the runner that fell silent, which would seem to be alive again.
        attempts = self._progress(id).get("attempts", 0)
        self._write_progress(id, {"heartbeat": self._clock(), "attempts": attempts})
        return True

    def start(self, id: str, runner: str) -> EvaluationTask | None:
        """Take up an evaluation.

        Args:
            id: of it.
            runner: names this attempt.

        Returns:
            None where there is nothing to do: no such evaluation, an outcome, or another runner that is alive.
        """
        record, progress = self._record(id), self._progress(id)
        if record is None or self._outcome(id):
            return None
        if progress.get("runner") not in (None, runner) and not self._is_stale(id):
            return None
        attempts = int(progress.get("attempts", 0)) + 1
        if attempts > MAX_ATTEMPTS:
            self.finish(id, error=f"Its processes died {MAX_ATTEMPTS} times. Ask for fewer images.")
            return None
        self._write_progress(id, {"heartbeat": self._clock(), "runner": runner, "attempts": attempts, "done": 0})
        return EvaluationTask(job_from_dict(record["order"]), record["uploaded"])

    def heartbeat(self, id: str, runner: str, done: int) -> None:
        """A sign of life, and how many pictures are measured."""
        self._write_progress(id, self._progress(id) | {"heartbeat": self._clock(), "runner": runner, "done": done})

    def images(self, id: str) -> list[bytes] | None:
        """The uploaded pictures; None when they are gone, which an outcome explains.

        Raises:
            OSError: they are damaged.
        """
        data = self._files.read(images_path(id))
        return None if data is None else unpack_images(data)

    def finish(self, id: str, *, results: Mapping[str, Any] | None = None, error: str | None = None) -> None:
        """Leave the outcome, unless another runner has; uploaded pictures are removed."""
        outcome = {"results": dict(results or {}), "error": error, "finished": self._clock()}
        if not self._files.create(record_path(id, "outcome"), _json(outcome)) and not self._outcome(id):
            self._files.write(record_path(id, "outcome"), _json(outcome))  # what stands there is damaged
        self._files.remove(images_path(id))

    def delete_expired(self) -> None:
        """Remove uploaded pictures that nobody will ask for: of requests and runners that died, and left for a day."""
        for id in self._files.names(IMAGES_FOLDER):
            if self._outcome(id):
                self._files.remove(images_path(id))
            elif self._clock() - created_at(id) > UPLOAD_TTL_SECONDS:
                if self._record(id):
                    self.finish(id, error="Nobody asked for it for a day.")
                self._files.remove(images_path(id))

    def _write_job(self, id: str, job: EvaluationJob, owner: str) -> None:
        if job.images:
            self._files.write(images_path(id), pack_images(job.images))
        record = {
            "owner": hash_owner(owner),
            "created": int(self._clock()),
            "uploaded": len(job.images),
            "order": job_to_dict(job),
        }
        self._files.write(record_path(id, "order"), _json(record))

    def _lost_to(self, owner: str, key: str, id: str, digest: str) -> str | None:
        """The evaluation that another request with the key made first; None where the key now stands for this one."""
        claim = _json({"id": id, "order": digest})
        if self._files.create(idempotency_path(owner, key), claim):
            return None
        if self._read(idempotency_path(owner, key)) is None:  # what stands there is damaged
            self._files.write(idempotency_path(owner, key), claim)
            return None
        for name in (evaluation_folder(id), images_path(id)):
            self._files.remove(name)
        return self._of_key(owner, key, digest)

    def _of_key(self, owner: str, key: str, digest: str) -> str | None:
        claim = self._read(idempotency_path(owner, key))
        if claim is None:
            return None
        if claim["order"] != digest:
            raise ApiError(
                409,
                "This Idempotency-Key was sent with another evaluation before. Send a new key with a new evaluation.",
                "idempotency_conflict",
            )
        self._files.create(f"{owner_folder(owner)}/{claim['id']}", b"")  # who made it may have died before this
        return str(claim["id"])

    def _evaluation(self, id: str, record: Mapping[str, Any]) -> Evaluation:
        job, outcome = record["order"], self._outcome(id)
        n = record["uploaded"] or job["n"]
        source: Literal["uploaded", "generated"] = "uploaded" if record["uploaded"] else "generated"
        generated = job_from_dict(job).generated
        begun = Evaluation(id, job["model"], "queued", record["created"], n, source=source, generated=generated)
        if outcome is None:
            progress = self._progress(id)
            return replace(begun, status="running", done=progress["done"]) if "runner" in progress else begun
        if outcome["error"] is not None:
            return replace(begun, status="failed", error=outcome["error"], done=self._progress(id).get("done", 0))
        return replace(begun, status="succeeded", done=n, results=outcome["results"])

    def _record(self, id: str) -> dict[str, Any] | None:
        return self._read(record_path(id, "order")) if is_evaluation_id(id) else None

    def _outcome(self, id: str) -> dict[str, Any] | None:
        return self._read(record_path(id, "outcome"))

    def _progress(self, id: str) -> dict[str, Any]:
        return self._read(record_path(id, "progress")) or {}

    def _write_progress(self, id: str, progress: Mapping[str, Any]) -> None:
        self._files.write(record_path(id, "progress"), _json(progress))

    def _is_stale(self, id: str) -> bool:
        return self._clock() - self._progress(id).get("heartbeat", 0.0) > STALE_SECONDS

    def _read(self, name: str) -> dict[str, Any] | None:
        """A file's card; a damaged one is as good as none."""
        try:
            return dict(json.loads(self._files.read(name) or b"null"))
        except (ValueError, TypeError):
            return None


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False).encode()
