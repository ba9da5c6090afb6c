"""The daemon's HTTP server: the standard library's, in a thread of its own, on TCP or a unix socket.

No client can hold it up: a request has DEADLINE seconds and a bounded head, connections have at most THREADS threads,
and when all are taken the connection that has been silent longest is closed. It is not made for the open internet: TLS
and names are a reverse proxy's work.
"""

import contextlib
import os
import socket
import socketserver
import stat
import sys
import threading
import time
from typing import Any

from reconciler.daemon.http.handler import Request, RequestHandler, Response
from reconciler.daemon.http.listening import Address
from reconciler.daemon.http.routes import Routes, needs_host
from reconciler.domain.errors import ReconcilerError
from reconciler.engine import log

THREADS = 24
DEADLINE = 5.0  # seconds for a whole request
LOOK_AROUND = 0.5  # seconds between two looks for connections that are over time


class CannotListen(ReconcilerError): ...


class HttpServer(socketserver.ThreadingTCPServer):
    """Answers from when it is made until `close`. Raises CannotListen. Not `http.server.ThreadingHTTPServer`: that asks
    the DNS for its own name and knows no unix sockets."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would let another program share the port
    block_on_close = False  # an open connection must not hold up the end
    request_queue_size = 64

    def __init__(self, address: Address, routes: Routes, look_around: float = LOOK_AROUND) -> None:
        self.address, self._routes = address, routes
        self._free = threading.BoundedSemaphore(THREADS)
        # Connections whose request has not been read yet, and since when; oldest first.
        self._silent: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        if address.path and sys.platform != "win32":  # there `listening` refuses it
            self.address_family = socket.AF_UNIX
        elif ":" in address.host:
            self.address_family = socket.AF_INET6
        try:
            if address.path:
                _remove_old_socket(address.path)
            super().__init__(address.path or (address.host, address.port), RequestHandler)  # type: ignore[arg-type]
        except OSError as error:
            hint = "another program has it: choose one with --listen, or --listen off"
            raise CannotListen(f"cannot listen on {address}: {error.strerror}", hint=hint) from None
        self._thread = threading.Thread(target=self.serve_forever, args=(look_around,), name="http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The real one, where 0 was asked for; 0 for a unix socket."""
        return 0 if self.address.path else int(self.socket.getsockname()[1])

    def close(self) -> None:
        self._routes.close()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def server_bind(self) -> None:
        super().server_bind()
        if self.address.path:
            os.chmod(self.address.path, 0o660)

    def server_close(self) -> None:
        super().server_close()
        if self.address.path:
            _remove_old_socket(self.address.path)

    def get_request(self) -> tuple[socket.socket, Any]:
        request, client = super().get_request()
        request.settimeout(DEADLINE)
        if not self.address.path:
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        return request, client

    def process_request(self, request: Any, client_address: Any) -> None:
        if not (self._free.acquire(blocking=False) or self._make_room()):
            self.shutdown_request(request)
            return
        with self._lock:
            self._silent[request] = time.monotonic()
        super().process_request(request, client_address)

    def _make_room(self) -> bool:
        with self._lock:
            oldest = next(iter(self._silent), None)
            if oldest is not None:
                self._hang_up(oldest)
        return self._free.acquire(timeout=LOOK_AROUND)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.was_read(request)
            self._free.release()

    def was_read(self, connection: socket.socket) -> None:
        with self._lock:
            self._silent.pop(connection, None)

    def answer(self, request: Request) -> Response:
        hosts = request.headers.get("host", ())
        if needs_host(request.path) and not (len(hosts) == 1 and self.address.accepts(hosts[0])):
            return Response(status=421)
        return self._routes.answer(request)

    def service_actions(self) -> None:
        """A client that sends a byte now and then passes every timeout of a socket, but not this deadline."""
        with self._lock:
            late = time.monotonic() - DEADLINE
            for request in [one for one, since in self._silent.items() if since < late]:
                self._hang_up(request)

    def _hang_up(self, request: socket.socket) -> None:
        """Its thread then reads the end, and closes it."""
        del self._silent[request]
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, OSError):
            log.bug("http.bug", error)


def _remove_old_socket(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
