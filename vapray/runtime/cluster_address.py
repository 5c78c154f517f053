"""Address of the Ray cluster that a command joins."""

import os

from vapray.config import Cluster
from vapray.errors import BackendError

__all__ = ["joined_address"]


def joined_address(cluster: Cluster) -> str | None:
    """Address of the cluster to join: ``cluster.address``, else ``RAY_ADDRESS``; None for an embedded Ray.

    Raises:
        BackendError: the address is a URL of a Ray dashboard, as ``ray job submit`` takes it.
    """
    inherited = os.environ.get("RAY_ADDRESS")
    address, source = cluster.address, "cluster.address"
    if inherited and address in (None, "", "auto"):  # Ray resolves auto by RAY_ADDRESS too
        address, source = inherited, "RAY_ADDRESS"
    if address and address.startswith(("http://", "https://")):
        fix = "unset it" if source == "RAY_ADDRESS" else "leave it empty"
        raise BackendError(
            f"{source} is a dashboard's address, {address}, which only `ray job submit` takes. Fix: {fix} for an "
            "embedded Ray, or set it to auto or to the cluster's HOST:PORT, such as 127.0.0.1:6379."
        )
    return address or None
