"""Evaluation records as files in the state folder; they survive the processes of the service.

Execution is at-least-once, with one outcome. If a record has no outcome and its last heartbeat is older than
``STALE_SECONDS``, another runner may start it. All methods block on file access: call them from a thread.
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
from vapray.store.files import FileStore

__all__ = ["STALE_SECONDS", "EvaluationStore", "EvaluationTask"]

STALE_SECONDS = 30.0
"""Seconds without a heartbeat after which an evaluation counts as abandoned."""
MAX_ATTEMPTS = 5
"""Maximum number of runners of an evaluation, so that one that kills its runners ends."""
MAX_LISTED = 100
"""Maximum number of evaluations in a list, the newest ones."""
MAX_READERS = 8
"""Records read at a time."""
UPLOAD_TTL_SECONDS = 86_400.0
"""Seconds after which the uploaded images of an unfinished evaluation are deleted."""


@dataclass(frozen=True)
class EvaluationTask:
    """Evaluation for a runner."""

    job: EvaluationJob
    """Job without its uploaded images."""
    uploaded: int
    """Number of uploaded images, available from ``EvaluationStore.images``; 0: the images have to be generated."""


class EvaluationStore:
    """Store of evaluation records.

    Args:
        state_dir: Folder or URI shared by all processes of the service.
        clock: Returns the Unix time.
    """

    def __init__(self, state_dir: str, clock: Callable[[], float] = time.time) -> None:
        self._files, self._clock = FileStore(state_dir), clock

    def create(self, job: EvaluationJob, owner: str, idempotency_key: str | None = None) -> Evaluation:
        """Create an evaluation; a repeated key of the same owner returns the first one.

        Raises:
            ApiError: 409, the key belongs to another job.
        """
        digest = job_digest(job)
        if idempotency_key and (earlier := self._find_by_key(owner, idempotency_key, digest)):
            return self.get(earlier, owner)
        id = new_evaluation_id(self._clock())
        self._write_job(id, job, owner)
        if idempotency_key and (faster := self._claim_key(owner, idempotency_key, id, digest)):
            return self.get(faster, owner)
        self._files.create_exclusive(f"{owner_folder(owner)}/{id}", b"")
        return self.get(id, owner)

    def get(self, id: str, owner: str) -> Evaluation:
        """Get an evaluation.

        Raises:
            ApiError: 404, the owner has no evaluation of this id.
        """
        record = self._record(id)
        if record is None or record["owner"] != hash_owner(owner):
            raise ApiError(404, "Unknown evaluation. GET /v1/evaluations lists your evaluations.", "not_found")
        return self._evaluation(id, record)

    def list_for_owner(self, owner: str) -> Sequence[Evaluation]:
        """List the evaluations of an owner, newest first."""
        ids = self._files.names(owner_folder(owner))[::-1][:MAX_LISTED]
        with ThreadPoolExecutor(MAX_READERS) as pool:
            found = pool.map(lambda id: (id, self._record(id)), ids)
            return list(pool.map(lambda one: self._evaluation(*one), [(id, record) for id, record in found if record]))

    def dispatch(self, id: str) -> bool:
        """Check that an evaluation needs a runner, and reserve it for ``STALE_SECONDS``.

        Returns:
            True for a record without an outcome that is new or has no recent heartbeat.
        """
        if self._outcome(id) or not self._is_stale(id):
            return False
        # Omit the previous runner, which would seem alive again.
        attempts = self._progress(id).get("attempts", 0)
        self._write_progress(id, {"heartbeat": self._clock(), "attempts": attempts})
        return True

    def start(self, id: str, runner: str) -> EvaluationTask | None:
        """Start an evaluation.

        Args:
            id: Evaluation.
            runner: Unique name of the attempt.

        Returns:
            None if the evaluation is unknown, has an outcome, or has another live runner.
        """
        record, progress = self._record(id), self._progress(id)
        if record is None or self._outcome(id):
            return None
        if progress.get("runner") not in (None, runner) and not self._is_stale(id):
            return None
        attempts = int(progress.get("attempts", 0)) + 1
        if attempts > MAX_ATTEMPTS:
            self.finish(id, error=f"Failed: {MAX_ATTEMPTS} runners died. Request fewer images.")
            return None
        self._write_progress(id, {"heartbeat": self._clock(), "runner": runner, "attempts": attempts, "done": 0})
        return EvaluationTask(job_from_dict(record["order"]), record["uploaded"])

    def heartbeat(self, id: str, runner: str, done: int) -> None:
        """Record that a runner is alive, and the number of images measured."""
        self._write_progress(id, self._progress(id) | {"heartbeat": self._clock(), "runner": runner, "done": done})

    def images(self, id: str) -> list[bytes] | None:
        """Read the uploaded images; None after they were removed with the outcome.

        Raises:
            OSError: The images are damaged.
        """
        data = self._files.read(images_path(id))
        return None if data is None else unpack_images(data)

    def finish(self, id: str, *, results: Mapping[str, Any] | None = None, error: str | None = None) -> None:
        """Store the outcome unless there is one, and remove the uploaded images."""
        outcome = {"results": dict(results or {}), "error": error, "finished": self._clock()}
        if not self._files.create_exclusive(record_path(id, "outcome"), _json(outcome)) and not self._outcome(id):
            self._files.write(record_path(id, "outcome"), _json(outcome))  # the existing file is damaged
        self._files.remove(images_path(id))

    def delete_expired(self) -> None:
        """Remove uploaded images of finished, unrecorded and expired evaluations."""
        for id in self._files.names(IMAGES_FOLDER):
            if self._outcome(id):
                self._files.remove(images_path(id))
            elif self._clock() - created_at(id) > UPLOAD_TTL_SECONDS:
                if self._record(id):
                    self.finish(id, error="Expired: not finished within a day.")
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

    def _claim_key(self, owner: str, key: str, id: str, digest: str) -> str | None:
        """Assign a key to an evaluation; return the evaluation of another request that was faster, if there is one."""
        claim = _json({"id": id, "order": digest})
        if self._files.create_exclusive(idempotency_path(owner, key), claim):
            return None
        if self._read(idempotency_path(owner, key)) is None:  # the existing file is damaged
            self._files.write(idempotency_path(owner, key), claim)
            return None
        for name in (evaluation_folder(id), images_path(id)):
            self._files.remove(name)
        return self._find_by_key(owner, key, digest)

    def _find_by_key(self, owner: str, key: str, digest: str) -> str | None:
        claim = self._read(idempotency_path(owner, key))
        if claim is None:
            return None
        if claim["order"] != digest:
            raise ApiError(
                409,
                "This Idempotency-Key belongs to another evaluation. Send a new key.",
                "idempotency_conflict",
            )
        self._files.create_exclusive(
            f"{owner_folder(owner)}/{claim['id']}", b""
        )  # its creator may have failed before this
        return str(claim["id"])

    def _evaluation(self, id: str, record: Mapping[str, Any]) -> Evaluation:
        job, outcome = record["order"], self._outcome(id)
        n = record["uploaded"] or job["n"]
        source: Literal["uploaded", "generated"] = "uploaded" if record["uploaded"] else "generated"
        generated = job_from_dict(job).generated
        queued = Evaluation(id, job["model"], "queued", record["created"], n, source=source, generated=generated)
        if outcome is None:
            progress = self._progress(id)
            return replace(queued, status="running", done=progress["done"]) if "runner" in progress else queued
        if outcome["error"] is not None:
            return replace(queued, status="failed", error=outcome["error"], done=self._progress(id).get("done", 0))
        return replace(queued, status="succeeded", done=n, results=outcome["results"])

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
        """Read a JSON object; None if the file is missing or damaged."""
        try:
            return dict(json.loads(self._files.read(name) or b"null"))
        except (ValueError, TypeError):
            return None


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False).encode()
