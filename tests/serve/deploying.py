"""``serve deploy`` in short: the service of a settings file onto a running Ray, which goes on without this process.

python -m tests.serve.deploying ADDRESS FILE
"""

import os
import sys

import ray
from ray import serve

from serve.app import build
from vapray.service.serve_config import read_serve_config

if __name__ == "__main__":
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    address, file = sys.argv[1:]
    settings = read_serve_config(file)
    ray.init(address=address, log_to_driver=False)
    serve.start(http_options=dict(settings.http_options))
    serve.run(build(settings.args), name=settings.name, route_prefix=settings.route_prefix)
