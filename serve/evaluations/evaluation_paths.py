"""Paths of evaluation files in the state folder of the service.

    evaluations/<id>/order.json        job and owner; the last file written when a record is created
                     progress.json     runner, last heartbeat, images done; rewritten
                     outcome.json      results or error; created once, by the first runner that finishes
    evaluation_pictures/<id>           uploaded images in one Parquet file; removed when the evaluation ends
    evaluation_keys/<hash>.json        evaluation of an owner's Idempotency-Key; created once
    evaluation_owners/<hash>/<id>      index of an owner's evaluations

Paths contain hashes of owners and keys only.
"""

import hashlib
import json
import re
import secrets

__all__ = [
    "EVALUATIONS_FOLDER",
    "IMAGES_FOLDER",
    "created_at",
    "evaluation_folder",
    "hash_owner",
    "idempotency_path",
    "images_path",
    "is_evaluation_id",
    "new_evaluation_id",
    "owner_folder",
    "owner_folder_of",
    "record_path",
]

EVALUATIONS_FOLDER = "evaluations"
IMAGES_FOLDER = "evaluation_pictures"

_ID = re.compile(r"eval_[0-9a-f]{32}")


def new_evaluation_id(now: float) -> str:
    """Create an id: the time in nanoseconds, so that ids sort by age, and 64 random bits."""
    return f"eval_{int(now * 1e9):016x}{secrets.token_hex(8)}"


def is_evaluation_id(text: str) -> bool:
    """Check that a text, possibly from a client, has the form of an id."""
    return _ID.fullmatch(text) is not None


def created_at(id: str) -> float:
    """Get the Unix time of an id; 0 if it is not an id."""
    return int(id[5:21], 16) / 1e9 if is_evaluation_id(id) else 0.0


def hash_owner(owner: str) -> str:
    """Hash an owner."""
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def evaluation_folder(id: str) -> str:
    """Folder of an evaluation."""
    return f"{EVALUATIONS_FOLDER}/{id}"


def record_path(id: str, record: str) -> str:
    """Path of the order, progress or outcome of an evaluation."""
    return f"{evaluation_folder(id)}/{record}.json"


def images_path(id: str) -> str:
    """Path of the uploaded images of an evaluation."""
    return f"{IMAGES_FOLDER}/{id}"


def idempotency_path(owner: str, key: str) -> str:
    """Path of the record of an owner's Idempotency-Key."""
    return f"evaluation_keys/{hash_owner(json.dumps([owner, key]))}.json"


def owner_folder(owner: str) -> str:
    """Folder of the index of an owner's evaluations."""
    return owner_folder_of(hash_owner(owner))


def owner_folder_of(hashed: str) -> str:
    """Folder of the index of the evaluations of an owner's hash."""
    return f"evaluation_owners/{hashed}"
