"""Serves moto on a free port of loopback, prints the port, and ends when its standard input does."""

import os
import sys
import threading

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

import permissions


def end_with_whoever_started_it():
    # The kernel closes the other end of the pipe, however that process ends.
    sys.stdin.buffer.read()
    os._exit(0)


application = permissions.complete(DomainDispatcherApplication(create_backend_app))
server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
threading.Thread(target=end_with_whoever_started_it, daemon=True).start()
print(server.port, flush=True)
server.serve_forever()
