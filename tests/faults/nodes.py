"""A cluster of several nodes on one machine, whose nodes can be lost and come back; run as a process of its own.

Reads ``lose`` (SIGKILL of the second node's processes), ``bring`` (a new one in its place) or ``stop``, a line each.
"""

import os
import shutil
import sys
import tempfile

from vapray.runtime.cluster import ENVIRONMENT


def main() -> None:
    """Print the address, then do what stdin says."""
    folder = tempfile.mkdtemp(prefix="nodes-", dir="/tmp")  # not where a Ray of this machine looks for its cluster
    os.environ.update(ENVIRONMENT, RAY_AUTH_MODE="disabled", RAY_TMPDIR=folder)
    from ray.cluster_utils import Cluster

    settings = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=settings)
    node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "stop":
            break
        if line.strip() == "lose":
            cluster.remove_node(node, allow_graceful=False)
        else:
            node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        print("done", flush=True)
    cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
