"""Audit log: one JSON line per POST or DELETE request with caller, model and seeds, but without prompts or images."""

import json
import logging
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

__all__ = ["CLIENT_CLOSED_REQUEST", "AuditRecord", "log_to_stdout"]

CLIENT_CLOSED_REQUEST = 499
"""Status of a request whose client disconnected, or was too slow, before the response was complete."""
LOG = logging.getLogger("vapray.audit")


@dataclass
class AuditRecord:
    """Audit record of a request; routes fill it in."""

    request: str
    """Request id."""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    """Time of arrival, UTC."""
    key: str | None = None
    """Id of the API key."""
    method: str = ""
    route: str | None = None
    """Path template of the route."""
    status: int = 0
    """HTTP status, or ``CLIENT_CLOSED_REQUEST``."""
    model: str | None = None
    model_sha256: str | None = None
    seed: int | None = None
    """Seed of the first image; the others follow consecutively."""
    count: int | None = None
    """Number of images."""
    evaluation: str | None = None
    """Evaluation id."""
    error: str | None = None
    """Error code."""
    milliseconds: int = 0

    def write(self) -> None:
        """Log the record as JSON."""
        LOG.info(json.dumps(asdict(self)))


def log_to_stdout() -> None:
    """Send the audit log to stdout, which Ray collects in a file per worker."""
    LOG.setLevel(logging.INFO)
    LOG.addHandler(logging.StreamHandler(sys.stdout))
    LOG.propagate = False
