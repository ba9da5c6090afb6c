"""The daemon's HTTP routes: /healthz, /readyz, /metrics and /hooks/git. A request in, an answer out.

Routes only read, with one exception: a signed hook wakes the loop.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from reconciler import __version__
from reconciler.daemon.hooks import BODY_LIMIT, Bucket, is_signed
from reconciler.daemon.http import health
from reconciler.daemon.http.handler import Answer, Request
from reconciler.daemon.metrics import metrics
from reconciler.daemon.metrics.counters import Counters
from reconciler.daemon.metrics.exposition import CONTENT_TYPE, page
from reconciler.daemon.metrics.process_usage import this_process
from reconciler.daemon.secret_file import NoSecret, read_secret
from reconciler.daemon.state import Board
from reconciler.daemon.wake import WEBHOOK, Wake
from reconciler.domain.layout import Layout
from reconciler.engine import log
from reconciler.host.disk_usage import bytes_below, disk_free
from reconciler.state.scrub_progress import read_scrubbed

HOOK = "/hooks/git"


@dataclass(frozen=True, kw_only=True)
class RouteContext:
    """Where answers come from. `patience`: for how many more seconds the loop may be silent; `secret_file` is "" when
    hooks are off."""

    board: Board
    counters: Counters
    wake: Wake
    layout: Layout
    patience: Callable[[], float]
    secret_file: str = ""


class Routes:
    def __init__(self, context: RouteContext) -> None:
        self._context = context
        self._bucket = Bucket()
        self._pages: dict[str, Callable[[], Answer]] = {
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
        }

    def answer(self, request: Request) -> Answer:
        """The caller has checked the Host header where `needs_host` says so."""
        if request.path == HOOK and self._context.secret_file:
            return self._hook(request) if request.method == "POST" else _not_allowed("POST")
        if request.path not in self._pages:
            return Answer(status=404)
        return self._pages[request.path]() if request.method == "GET" else _not_allowed("GET")

    def _health(self) -> Answer:
        return _health_answer(health.alive(self._context.patience()))

    def _readiness(self) -> Answer:
        return _health_answer(health.ready(self._context.board.state))

    def _metrics(self) -> Answer:
        layout = self._context.layout
        given = metrics.MetricsInput(
            state=self._context.board.state,
            counters=self._context.counters.values(),
            process=this_process(),
            version=__version__,
            patience=self._context.patience(),
            store_bytes=bytes_below(layout.at("oci", "blobs", "sha256")),
            disk_free=disk_free(layout.root),
            scrubbed=read_scrubbed(layout),
        )
        return Answer(status=200, body=page(metrics.families(given)).encode(), type=CONTENT_TYPE)

    def _hook(self, request: Request) -> Answer:
        """The answer says no more than it must, so that guessing a secret teaches nothing."""
        if not self._bucket.take():
            return Answer(status=429, headers={"Retry-After": "1"})
        if request.length is None:
            return Answer(status=411)
        if request.length > BODY_LIMIT:
            return Answer(status=413)
        try:
            secret = read_secret(self._context.secret_file)
        except NoSecret as error:
            log.warning("hook.no_secret", file=self._context.secret_file, problem=str(error))
            return Answer(status=503)
        if not is_signed(secret, request.headers, request.body):
            return Answer(status=403)
        self._context.wake.wake(WEBHOOK)
        return Answer(status=202)


def needs_host(path: str) -> bool:
    """Whether the Host header must be ours. A hook proves itself by its signature, and may come through a proxy."""
    return path != HOOK  # guard: only our names are answered


def _not_allowed(method: str) -> Answer:
    return Answer(status=405, headers={"Allow": method})


def _health_answer(found: health.Health) -> Answer:
    body = json.dumps(found.facts).encode() + b"\n"
    return Answer(status=200 if found.good else 503, body=body)
