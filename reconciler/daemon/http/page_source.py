"""What the page for people shows now, from what the loop left on the board and from the records. Nothing of the machine
is observed for it, and nothing is done while no page is open.

It is made anew when something it is made of is another than before: at most once a second, and seldom enough that it
takes no more than a twentieth of a core, however many models there are.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from reconciler import __version__
from reconciler.daemon.state import Board, Moment, State
from reconciler.domain.layout import Layout
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Plan
from reconciler.domain.recorded import Recorded, still_on
from reconciler.domain.text.units import size_text
from reconciler.domain.verdict import Verdict
from reconciler.engine.job import who_works
from reconciler.engine.pass_result import PassResult
from reconciler.gates.judgement import judge_release
from reconciler.host.clock import now, text_of
from reconciler.host.disk_usage import bytes_below, disk_free, disk_total
from reconciler.reports.benchmark.drawing import is_plain
from reconciler.reports.history import history_view
from reconciler.reports.machine.view import (
    MOST_EVENTS,
    DaemonFacts,
    DiskUse,
    MachineFacts,
    Standing,
    declared_models,
    machine_view,
)
from reconciler.reports.status import make_status
from reconciler.reports.text import Shown
from reconciler.reports.view import View, plan_view
from reconciler.state.events import Follower
from reconciler.state.progress import last_benchmark, scrub_progress
from reconciler.state.records import Records
from reconciler.templates.renderer import Renderer
from reconciler.templates.rendering import NotRendered

AGAIN = 1.0  # seconds: it is not looked for changes more often
RESTS = 20.0  # times as long as it took to make it
MOST_RENDERED = 200  # templates

# Of (layout, attempted, applied): where it stands in what it follows.
Stands = Callable[[Layout, str, str], Standing]


class PageSource:
    """Called by the threads of the HTTP server, of which one at a time makes something."""

    def __init__(self, board: Board, layout: Layout, name: str, quota: int | None, stands: Stands) -> None:
        self._board, self._layout, self._name, self._quota, self._stands = board, layout, name, quota, stands
        self._records = Records(layout)
        self._follower = Follower(self._records.event_log)
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._rendered: dict[str, tuple[str, str]] = {}
        self._standing: tuple[tuple[str, str], Standing] | None = None
        self._lock = threading.Lock()
        self._looked = 0.0
        self._rest = 0.0  # seconds from the last look to the next
        self._state: State | None = None
        self._made_of: object = None
        self._view: View = {}
        self._page: Any = None  # reports.machine.page.MachinePage

    def view(self) -> View:
        with self._lock:
            self._renew()
            return self._view

    def html(self) -> tuple[str, str]:
        """The page, and its Content-Security-Policy."""
        page = self._current()
        return page.document.html, page.document.policy

    def part(self, name: str) -> str | None:
        found: str | None = self._current().sections.get(name)
        return found

    def digests(self) -> Mapping[str, str]:
        """By name of a part; another one when it changed."""
        found: Mapping[str, str] = self._current().digests
        return found

    def _current(self) -> Any:
        from reconciler.reports.machine.page import machine_page  # templates are loaded when somebody looks

        with self._lock:
            self._renew()
            if self._page is None:
                began = time.thread_time()
                self._page = machine_page(self._view)
                self._rest += RESTS * (time.thread_time() - began)
            return self._page

    def _renew(self) -> None:
        if self._view and time.monotonic() - self._looked < self._rest:
            return
        began = time.thread_time()
        state = self._board.state
        working = who_works(self._layout)
        made_of = (id(state), self._fingerprint(), working)
        if not self._view or made_of != self._made_of:
            self._state, self._made_of = state, made_of  # kept, so that no other state has its id
            self._view, self._page = self._made(state, working), None
        self._looked = time.monotonic()
        self._rest = AGAIN + RESTS * (time.thread_time() - began)

    def _fingerprint(self) -> tuple[object, ...]:
        """Of what changes without the loop: events, suspensions, the scrub, a benchmark, the disk as it is shown."""
        layout = self._layout
        files = (self._records.event_log, scrub_progress(layout).path, last_benchmark(layout).path, layout.suspended)
        return (*map(_stamp, files), size_text(_disk(layout.root)[0]))

    def _made(self, state: State, working: View | None) -> View:
        self._events.extend(self._follower.read())
        known, seen = self._records.load(), state.seen
        observed = seen.observed if seen else Observed()
        recorded = _recorded(seen, known, state)
        conditions = self._records.conditions() if seen else {}
        scrubbed = scrub_progress(self._layout).read()
        status = make_status(observed, recorded, conditions, scrubbed, self._records.judged())
        return machine_view(
            MachineFacts(
                daemon=self._daemon(state),
                standing=self._stands_at(recorded.last_attempted_revision, recorded.last_applied_revision),
                status=status | {"working": working},
                plan=_plan(seen),
                disk=self._disk_use(state),
                histories=list(self._histories(observed, recorded, seen)),
                events=list(self._events),
                declared=self._declared(state, seen),
                benchmark=_harmless(last_benchmark(self._layout).read()),
                not_known="" if seen else state.last_error or "the first look at this machine is under way",
            )
        )

    def _daemon(self, state: State) -> DaemonFacts:
        return DaemonFacts(
            name=self._name,
            version=__version__,
            started=_time(state.started),
            last_pass=_time(state.last_pass),
            last_result=state.last_result,
            last_error=state.last_error,
            last_answer=_time(state.last_fetch),
            stale=state.stale,
            interval=state.interval,
        )

    def _stands_at(self, attempted: str, applied: str) -> Standing:
        """git is asked when a commit is another one."""
        key = (attempted, applied)
        if self._standing is None or self._standing[0] != key:
            self._standing = key, self._stands(self._layout, attempted, applied)
        return self._standing[1]

    def _disk_use(self, state: State) -> DiskUse:
        free, total = _disk(self._layout.root)
        store = bytes_below(self._layout.at("oci", "blobs", "sha256"))
        return DiskUse(free=free, total=total, store=store, served=sum(state.sizes.values()), quota=self._quota)

    def _histories(self, observed: Observed, recorded: Recorded, seen: PassResult | None) -> Iterator[View]:
        damaged = self._records.damaged_beside()
        for variant in self._records.with_history():
            ours = [one.number for one in observed.registrations_of.get(variant, ()) if observed.owns(one.owner)]
            history = self._records.history(variant)
            view = history_view(
                variant,
                history,
                serving=max(ours, default=0),
                registered=ours,
                artifacts=observed.artifacts,
                origins=recorded.origins,
                verdicts=_verdicts(variant, recorded, seen, [(one.digest, one.release) for one in history]),
                rollback=recorded.rollbacks.get(variant),
            )
            yield view | {"damaged": os.path.join("history", f"{variant}.json") in damaged}

    def _declared(self, state: State, seen: PassResult | None) -> list[View]:
        parsed = state.declared
        if parsed is None:
            return []
        wanted = seen.resolution.desired.wanted if seen else ()
        templates = {one.release.model: (one.declared.template_origin, one.declared.template) for one in wanted}
        texts = {text for _, text in templates.values()} | {one.template.jinja or "" for one in parsed.models}
        self._render(sorted(texts - {""})[:MOST_RENDERED])
        return declared_models(parsed.models, parsed.texts, templates, self._rendered)

    def _render(self, texts: Sequence[str]) -> None:
        """In the limited child that checks templates; each text once."""
        kept = {text: self._rendered[text] for text in texts if text in self._rendered}
        missing = [text for text in texts if text not in kept]
        if missing:
            with Renderer() as renderer:
                kept |= {text: _example(renderer, text) for text in missing}
        self._rendered = kept


def _example(renderer: Renderer, text: str) -> tuple[str, str]:
    try:
        return renderer.render_example(text, {}), ""
    except NotRendered as why:
        return "", str(why)


def _recorded(seen: PassResult | None, known: Recorded, state: State) -> Recorded:
    """What the last pass planned from, with what was recorded since."""
    base = seen.recorded if seen else Recorded(conditions=known.conditions)
    return replace(
        base,
        conditions=known.conditions,
        suspensions=still_on(known.suspensions, now()),
        last_attempted_revision=state.attempted or known.last_attempted_revision,
        last_applied_revision=known.last_applied_revision or state.applied,
    )


def _plan(seen: PassResult | None) -> Shown:
    if seen is None:
        return plan_view(Plan(revision=""))
    return plan_view(seen.remaining, seen.resolution.problems, seen.resolution.warnings)


def _verdicts(
    variant: str, recorded: Recorded, seen: PassResult | None, releases: Sequence[tuple[str, Any]]
) -> dict[str, tuple[Verdict, ...]]:
    """Of releases that were measured, by today's bars."""
    wanted = next((one for one in (seen.resolution.desired.wanted if seen else ()) if one.variant == variant), None)
    found: dict[str, tuple[Verdict, ...]] = {}
    for digest, release in releases if wanted is not None else ():
        numbers = recorded.measured.fidelity.get(release.recipe.build_key), recorded.measured.releases.get(digest)
        if wanted is not None and any(one is not None for one in numbers):
            found[digest] = judge_release(wanted.gates, release, *numbers)
    return found


def _harmless(benchmark: Shown | None) -> Shown | None:
    """Drawings come from a file: one that holds more than shapes is not shown."""
    if benchmark is None:
        return None
    models = [
        {**model, "plots": [plot | {"drawing": _drawing(plot["drawing"])} for plot in model["plots"]]}
        for model in benchmark["models"]
    ]
    return {**benchmark, "models": models}


def _drawing(kept: str) -> str:
    return kept if is_plain(kept) else ""  # guard: a drawing holds shapes and text only


def _time(moment: Moment | None) -> str:
    return text_of(moment.unix) if moment is not None else ""


def _stamp(path: str) -> tuple[int, int]:
    with suppress(OSError):
        status = os.stat(path)
        return status.st_mtime_ns, status.st_size
    return 0, 0


def _disk(root: str) -> tuple[int, int]:
    """Bytes that are free, and all of them; zeros where that cannot be known, as of a root that is gone."""
    with suppress(OSError):
        return (disk_free(root), disk_total(root)) if os.path.isdir(root) else (0, 0)
    return 0, 0
