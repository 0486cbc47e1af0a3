"""Running the server."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import uvicorn

from geomtp.serving.app import create_app
from geomtp.serving.serve_config import Serve

_MOST_CONNECTIONS = 512


def serve(config: Serve, say: Callable[[str], None] = print) -> None:
    """Answer requests until it is interrupted.

    Raises FileNotFoundError or ValueError for models that cannot be opened, OSError for a port that
    is taken.
    """
    settings = uvicorn.Config(
        create_app(config),
        host=config.host,
        port=config.port,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        ws="none",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=3,
    )
    try:
        listening = settings.bind_socket()
    except SystemExit:
        raise OSError(
            f"nothing can listen at {config.host} port {config.port}: is it taken? Choose another "
            f"by --port"
        ) from None
    listening.listen()  # who is quicker than the server waits for it
    host = f"[{config.host}]" if ":" in config.host else config.host
    say(f"open http://{host}:{listening.getsockname()[1]}/ in a browser; Ctrl-C ends the server")
    if not _is_loopback(config.host):
        say("whoever reaches this machine over the network can use it: there is no password")
    uvicorn.Server(settings).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
