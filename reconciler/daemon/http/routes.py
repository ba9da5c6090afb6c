"""What is answered to whom: a request in, an answer out. It only reads, but for one thing: a signed hook wakes
the loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from reconciler import __version__
from reconciler.daemon.hooks import BODY_LIMIT, Bucket, NoSecret, is_signed, read_secret
from reconciler.daemon.http import health
from reconciler.daemon.http.request import Answer, Request
from reconciler.daemon.metrics import metrics
from reconciler.daemon.metrics.counters import Figures
from reconciler.daemon.metrics.exposition import CONTENT_TYPE, page
from reconciler.daemon.process import size_of, this_process
from reconciler.daemon.state import Board
from reconciler.daemon.wake import WEBHOOK, Wake
from reconciler.domain.layout import Layout
from reconciler.engine import log
from reconciler.engine.machine import disk_free
from reconciler.state.scrubbed import read_scrubbed

HOOK = "/hooks/git"


@dataclass(frozen=True, kw_only=True)
class Known:
    """Where answers come from. `patience`: for how many seconds the loop may still be silent; `secret_file` is "" when
    hooks are not wanted."""

    board: Board
    figures: Figures
    wake: Wake
    layout: Layout
    patience: Callable[[], float]
    secret_file: str = ""


class Answers:
    def __init__(self, known: Known) -> None:
        self._known = known
        self._bucket = Bucket()
        self._pages: dict[str, Callable[[], Answer]] = {
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
        }

    def answer(self, request: Request) -> Answer:
        """The caller has looked at the Host header, where `needs_host` says so."""
        if request.path == HOOK and self._known.secret_file:
            return self._hook(request) if request.method == "POST" else _not_allowed("POST")
        if request.path not in self._pages:
            return Answer(status=404)
        return self._pages[request.path]() if request.method == "GET" else _not_allowed("GET")

    def _health(self) -> Answer:
        return _verdict(health.alive(self._known.patience()))

    def _readiness(self) -> Answer:
        return _verdict(health.ready(self._known.board.state))

    def _metrics(self) -> Answer:
        layout = self._known.layout
        sight = metrics.Sight(
            state=self._known.board.state,
            counted=self._known.figures.counted(),
            process=this_process(),
            version=__version__,
            patience=self._known.patience(),
            store_bytes=size_of(layout.at("oci", "blobs", "sha256")),
            disk_free=disk_free(layout.root),
            scrubbed=read_scrubbed(layout),
        )
        return Answer(status=200, body=page(metrics.families(sight)).encode(), type=CONTENT_TYPE)

    def _hook(self, request: Request) -> Answer:
        """Says no more than it must: somebody who guesses learns nothing from the answer."""
        if not self._bucket.take():
            return Answer(status=429, headers={"Retry-After": "1"})
        if request.length is None:
            return Answer(status=411)
        if request.length > BODY_LIMIT:
            return Answer(status=413)
        try:
            secret = read_secret(self._known.secret_file)
        except NoSecret as error:
            log.warning("hook.no_secret", file=self._known.secret_file, problem=str(error))
            return Answer(status=503)
        if not is_signed(secret, request.headers, request.body):
            return Answer(status=403)
        self._known.wake.wake(WEBHOOK)
        return Answer(status=202)


def needs_host(path: str) -> bool:
    """A hook proves itself by its signature, and a proxy in front of us may pass its own name on."""
    return path != HOOK


def _not_allowed(method: str) -> Answer:
    return Answer(status=405, headers={"Allow": method})


def _verdict(verdict: health.Verdict) -> Answer:
    body = json.dumps(verdict.facts).encode() + b"\n"
    return Answer(status=200 if verdict.good else 503, body=body)
