"""One line for each request that makes or measures pictures: who, what, with which seeds; never a text of theirs."""

import json
import logging
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

__all__ = ["CLIENT_CLOSED_REQUEST", "AuditRecord", "log_to_stdout"]

CLIENT_CLOSED_REQUEST = 499
"""The client went, or was too slow to take it, before the answer was whole."""
LOG = logging.getLogger("vapray.audit")


@dataclass
class AuditRecord:
    """Filled while a request is served."""

    request: str
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    """When it came, UTC."""
    key: str | None = None
    method: str = ""
    route: str | None = None
    """Its template."""
    status: int = 0
    """Of HTTP, or ``CLIENT_CLOSED_REQUEST``."""
    model: str | None = None
    model_sha256: str | None = None
    seed: int | None = None
    """Of the first picture; those of the others follow."""
    count: int | None = None
    """Pictures."""
    evaluation: str | None = None
    """Its id."""
    error: str | None = None
    """Code of what was told."""
    milliseconds: int = 0

    def write(self) -> None:
        """As JSON."""
        LOG.info(json.dumps(asdict(self)))


def log_to_stdout() -> None:
    """For a process whose output is collected, as Ray collects each worker's in a file."""
    LOG.setLevel(logging.INFO)
    LOG.addHandler(logging.StreamHandler(sys.stdout))
    LOG.propagate = False
