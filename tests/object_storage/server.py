"""A real S3 server program, moto's: ``python -m tests.object_storage.server BUCKET HOST`` prints its port and serves.

It keeps HTTP/1.0's one request for each connection, so that whoever stands between can count requests. Writes go
through one at a time: S3 decides a conditional write in one step, moto in two.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3 import s3_backends
from werkzeug.serving import WSGIRequestHandler, make_server

ACCOUNT = "123456789012"


class OneRequestEach(WSGIRequestHandler):
    protocol_version = "HTTP/1.0"


def one_write_at_a_time(app: Any) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    lock = threading.Lock()

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in {"PUT", "POST", "DELETE"}:
            return app(environ, start_response)
        with lock:
            return app(environ, start_response)

    return serve


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3_backends[ACCOUNT]["aws"].create_bucket(sys.argv[1], "us-east-1")
    app = one_write_at_a_time(DomainDispatcherApplication(create_backend_app))
    server = make_server(sys.argv[2], 0, app, threaded=True, request_handler=OneRequestEach)
    print(server.server_port, flush=True)
    server.serve_forever()
