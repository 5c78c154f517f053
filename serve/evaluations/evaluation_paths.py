"""Where an evaluation's files lie in the service's ``state``.

    evaluations/<id>/order.json        what was asked for, by whom; written last of what creates a record
                     progress.json     who works on it, the last sign of life, pictures done; rewritten
                     outcome.json      results or error; created once, by the first runner that ends
    evaluation_pictures/<id>           uploaded ones in one Parquet file, removed when the evaluation ends
    evaluation_keys/<hash>.json        the evaluation that an owner's Idempotency-Key stands for; created once
    evaluation_owners/<hash>/<id>      whose it is

Neither owners nor keys can be read from them.
"""

import hashlib
import json
import re
import secrets

__all__ = [
    "IMAGES_FOLDER",
    "created_at",
    "evaluation_folder",
    "hash_owner",
    "idempotency_path",
    "images_path",
    "is_evaluation_id",
    "new_evaluation_id",
    "owner_folder",
    "record_path",
]

IMAGES_FOLDER = "evaluation_pictures"

_ID = re.compile(r"eval_[0-9a-f]{32}")


def new_evaluation_id(now: float) -> str:
    """Nanoseconds of its creation, so that names sort by age, and 64 random bits."""
    return f"eval_{int(now * 1e9):016x}{secrets.token_hex(8)}"


def is_evaluation_id(text: str) -> bool:
    """Whether a text, which may be a client's, can be one."""
    return _ID.fullmatch(text) is not None


def created_at(id: str) -> float:
    """Seconds since the epoch; 0 for what is no id."""
    return int(id[5:21], 16) / 1e9 if is_evaluation_id(id) else 0.0


def hash_owner(owner: str) -> str:
    """What stands for an owner."""
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def evaluation_folder(id: str) -> str:
    """Of a record."""
    return f"evaluations/{id}"


def record_path(id: str, card: str) -> str:
    """Of its order, progress or outcome."""
    return f"{evaluation_folder(id)}/{card}.json"


def images_path(id: str) -> str:
    """Of its uploaded pictures."""
    return f"{IMAGES_FOLDER}/{id}"


def idempotency_path(owner: str, key: str) -> str:
    """Of what an owner's Idempotency-Key stands for."""
    return f"evaluation_keys/{hash_owner(json.dumps([owner, key]))}.json"


def owner_folder(owner: str) -> str:
    """Of the ids of an owner's evaluations."""
    return f"evaluation_owners/{hash_owner(owner)}"
