"""Evaluation records as files in the state folder; they survive the processes of the service.

Execution is at-least-once, with one outcome. If a record has no outcome and its last heartbeat is older than
``STALE_SECONDS``, another runner may start it. All methods block on file access: call them from a thread.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from serve.backend import Evaluation, EvaluationJob
from serve.errors import ApiError
from serve.evaluations.deletion import delete_files
from serve.evaluations.evaluation_paths import (
    EVALUATIONS_FOLDER,
    IMAGES_FOLDER,
    created_at,
    evaluation_folder,
    hash_owner,
    images_path,
    is_evaluation_id,
    new_evaluation_id,
    owner_folder,
    record_path,
)
from serve.evaluations.evaluation_state import describe_evaluation
from serve.evaluations.idempotency_key import IdempotencyKey
from serve.evaluations.job_serialization import job_digest, job_from_dict, job_to_dict
from serve.evaluations.json_files import read_json, to_json
from serve.settings import EvaluationLimits
from serve.uploaded_images import read_images
from vapray.store.files import FileStore

__all__ = ["STALE_SECONDS", "EvaluationDeletedError", "EvaluationStore", "EvaluationTask"]

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
SECONDS_OF_A_DAY, SECONDS_BETWEEN_CLEANUPS = 86_400.0, 60.0


class EvaluationDeletedError(Exception):
    """Signal that an evaluation was deleted while it ran."""


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
        keep: Number of evaluations of an owner, and age of the oldest.
    """

    def __init__(
        self,
        state_dir: str,
        clock: Callable[[], float] = time.time,
        keep: EvaluationLimits = EvaluationLimits(),  # noqa: B008 (frozen)
    ) -> None:
        self._files, self._clock, self._keep = FileStore(state_dir), clock, keep
        self._cleaned = 0.0

    def create(self, job: EvaluationJob, owner: str, idempotency_key: str | None = None) -> Evaluation:
        """Create an evaluation; a repeated key of the same owner returns the first one.

        Raises:
            ApiError: 409, the key belongs to another job.
        """
        key = IdempotencyKey(self._files, owner, idempotency_key, job_digest(job)) if idempotency_key else None
        if key and (earlier := key.find()):
            return self.get(earlier, owner)
        id = new_evaluation_id(self._clock())
        self._write_job(id, job, owner, key)
        if key and not key.claim(id):
            for name in (evaluation_folder(id), images_path(id)):
                self._files.remove(name)
            faster = key.find()  # None if it was deleted since
            return self.get(faster, owner) if faster else self.create(job, owner, idempotency_key)
        self._files.create_exclusive(f"{owner_folder(owner)}/{id}", b"")
        self._delete_surplus(owner)
        return self.get(id, owner)

    def delete(self, id: str, owner: str) -> None:
        """Delete an evaluation; a runner stops at its next heartbeat.

        Raises:
            ApiError: 404, the owner has no evaluation of this id.
            DataError: a file cannot be removed.
        """
        self.get(id, owner)
        delete_files(self._files, id)

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
        """Record that a runner is alive, and the number of images measured.

        Raises:
            EvaluationDeletedError: the evaluation was deleted.
        """
        if self._record(id) is None:
            raise EvaluationDeletedError
        self._write_progress(id, self._progress(id) | {"heartbeat": self._clock(), "runner": runner, "done": done})

    def images(self, id: str) -> Generator[bytes, None, None]:
        """Read the uploaded images.

        Raises:
            FileNotFoundError: They were removed with the outcome.
            OSError: They are damaged.
        """
        return read_images(self._files.open(images_path(id)))

    def finish(self, id: str, *, results: Mapping[str, Any] | None = None, error: str | None = None) -> None:
        """Store the outcome unless there is one or the evaluation was deleted, and remove the uploaded images."""
        if self._record(id) is None:
            self._files.remove(images_path(id))
            return
        outcome = {"results": dict(results or {}), "error": error, "finished": self._clock()}
        if not self._files.create_exclusive(record_path(id, "outcome"), to_json(outcome)) and not self._outcome(id):
            self._files.write(record_path(id, "outcome"), to_json(outcome))  # the existing file is damaged
        self._files.remove(images_path(id))

    def delete_expired(self) -> None:
        """Remove old evaluations, and uploaded images of finished, unrecorded and expired ones."""
        oldest = self._clock() - self._keep.days * SECONDS_OF_A_DAY
        for id in self._files.names(EVALUATIONS_FOLDER):
            if is_evaluation_id(id) and (created_at(id) < oldest or self._is_remainder(id)):
                delete_files(self._files, id)
        for id in self._files.names(IMAGES_FOLDER):
            if self._outcome(id):
                self._files.remove(images_path(id))
            elif self._clock() - created_at(id) > UPLOAD_TTL_SECONDS:
                if self._record(id):
                    self.finish(id, error="Expired: not finished within a day.")
                self._files.remove(images_path(id))

    def _is_remainder(self, id: str) -> bool:
        """Return whether a folder without an order is what a runner wrote during a deletion."""
        return self._clock() - created_at(id) > STALE_SECONDS and self._record(id) is None

    def _delete_surplus(self, owner: str) -> None:
        """Delete an owner's oldest evaluations above ``keep.per_key``, and at most once a minute all expired ones."""
        for id in sorted(self._files.names(owner_folder(owner)))[: -self._keep.per_key]:
            delete_files(self._files, id)
        if self._clock() - self._cleaned >= SECONDS_BETWEEN_CLEANUPS:
            self._cleaned = self._clock()
            self.delete_expired()

    def _write_job(self, id: str, job: EvaluationJob, owner: str, key: IdempotencyKey | None) -> None:
        if job.images:
            self._files.upload(images_path(id), job.images.path)
        record = {
            "owner": hash_owner(owner),
            "created": int(self._clock()),
            "uploaded": job.images.count if job.images else 0,
            "order": job_to_dict(job),
            "key": key.path if key else None,
        }
        self._files.write(record_path(id, "order"), to_json(record))

    def _evaluation(self, id: str, record: Mapping[str, Any]) -> Evaluation:
        return describe_evaluation(id, record, self._outcome(id), self._progress(id))

    def _record(self, id: str) -> dict[str, Any] | None:
        return read_json(self._files, record_path(id, "order")) if is_evaluation_id(id) else None

    def _outcome(self, id: str) -> dict[str, Any] | None:
        return read_json(self._files, record_path(id, "outcome"))

    def _progress(self, id: str) -> dict[str, Any]:
        return read_json(self._files, record_path(id, "progress")) or {}

    def _write_progress(self, id: str, progress: Mapping[str, Any]) -> None:
        self._files.write(record_path(id, "progress"), to_json(progress))

    def _is_stale(self, id: str) -> bool:
        return self._clock() - self._progress(id).get("heartbeat", 0.0) > STALE_SECONDS
