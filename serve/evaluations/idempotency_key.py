"""Idempotency-Key of an owner: the evaluation that it stands for."""

from serve.errors import ApiError
from serve.evaluations.evaluation_paths import idempotency_path, owner_folder, record_path
from serve.evaluations.json_files import read_json, to_json
from vapray.store.files import FileStore

__all__ = ["IdempotencyKey"]


class IdempotencyKey:
    """Key of one request.

    Args:
        files: state folder.
        owner: owner of the key.
        key: header of the request.
        digest: hash of the requested job.

    Attributes:
        path: file that names the evaluation.
    """

    def __init__(self, files: FileStore, owner: str, key: str, digest: str) -> None:
        self._files, self._owner, self._digest = files, owner, digest
        self.path = idempotency_path(owner, key)

    def find(self) -> str | None:
        """Find the evaluation of an earlier request with this key.

        Raises:
            ApiError: 409, the key belongs to another job.
        """
        claim = read_json(self._files, self.path)
        if claim is None:
            return None
        if read_json(self._files, record_path(claim["id"], "order")) is None:  # it was deleted
            self._files.remove(self.path)
            return None
        if claim["order"] != self._digest:
            raise ApiError(
                409,
                "This Idempotency-Key belongs to another evaluation. Send a new key.",
                "idempotency_conflict",
            )
        # Its creator may have failed before this.
        self._files.create_exclusive(f"{owner_folder(self._owner)}/{claim['id']}", b"")
        return str(claim["id"])

    def claim(self, id: str) -> bool:
        """Assign the key to an evaluation; False if another request was faster."""
        claim = to_json({"id": id, "order": self._digest})
        if self._files.create_exclusive(self.path, claim):
            return True
        if read_json(self._files, self.path) is None:  # the existing file is damaged
            self._files.write(self.path, claim)
            return True
        return False
