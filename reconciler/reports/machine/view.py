"""The JSON view of one machine: what `status`, `plan`, `history` and `events` show of it, put together, with what only
a page has: each variant's state in a word, commands to type, the disk, the declared manifests. Pure.

It is served as /page.json, and the page is a renderer of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.domain.manifest import Model
from reconciler.domain.plain_data import grouped
from reconciler.domain.text.names import model_of
from reconciler.reports.machine.states import TONES, commands_for, state_of, worst
from reconciler.reports.text import Shown, event_type
from reconciler.reports.view import FORMAT_VERSION, View, camel_view

MOST_EVENTS = 1000
NOTHING: dict[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where this machine stands in what it follows. `behind` counts the commits that are there and not applied; None:
    unknown, or a folder. Times are RFC 3339, UTC."""

    origin: str
    branch: str = ""
    commit: str = ""
    subject: str = ""
    committed: str = ""
    behind: int | None = None


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """In bytes. A `quota` of None is none."""

    free: int
    total: int = 0
    store: int = 0
    served: int = 0
    quota: int | None = None


@dataclass(frozen=True, kw_only=True)
class DaemonFacts:
    """What the daemon knows of itself."""

    name: str
    version: str
    started: str
    last_pass: str = ""
    last_result: str = ""
    last_error: str = ""
    last_answer: str = ""  # of the repository
    stale: bool = False
    interval: float = 0.0


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """All that the view is made of. `status` is that of reports.status, with `working`; `plan` of reports.view,
    `histories` of reports.history, `declared` of declared_models; `benchmark` is what `reconciler bench` left
    (reports.benchmark.page), if ever."""

    daemon: DaemonFacts
    standing: Standing
    status: Shown
    plan: Shown
    disk: DiskUse
    histories: Sequence[Shown] = ()
    events: Sequence[Shown] = ()
    declared: Sequence[Shown] = ()
    benchmark: Shown | None = None
    not_known: str = ""  # why there is no plan yet


def machine_view(facts: MachineFacts) -> View:
    releases = {one["variant"]: len(one["releases"]) for one in facts.histories}
    working = facts.status.get("working") or NOTHING
    jobs = grouped(working.get("jobs", ()), lambda job: str(job["variant"]))
    held = grouped(facts.plan["held"], lambda one: str(one["variant"]))
    variants = [
        _variant(one, jobs.get(one["variant"], []), held.get(one["variant"], []), releases.get(one["variant"], 0))
        for one in facts.status["variants"]
    ]
    models = grouped(variants, lambda one: str(one["model"] or model_of(str(one["variant"]))))
    return {
        "formatVersion": FORMAT_VERSION,
        "machine": camel_view(facts.daemon),
        "source": camel_view(facts.standing)
        | {"applied": facts.status["lastAppliedRevision"], "attempted": facts.status["lastAttemptedRevision"]},
        "summary": _summary(variants, facts),
        "conditions": facts.status["conditions"],
        "models": [{"model": name, "variants": found} for name, found in sorted(models.items())],
        "working": facts.status.get("working"),
        "plan": facts.plan,
        "history": list(facts.histories),
        "events": [_event(one) for one in list(facts.events)[-MOST_EVENTS:][::-1]],
        "disk": camel_view(facts.disk) | {"scrub": facts.status["scrub"]},
        "declared": list(facts.declared),
        "benchmark": facts.benchmark,
    }


def _event(event: Shown) -> View:
    """Of what the log holds: it is read as it is, and lacks what was not known."""
    texts = {"type": event_type(event)}
    texts |= {name: str(event.get(name) or "") for name in ("time", "variant", "reason", "message", "buildKey")}
    number, seconds = event.get("number"), event.get("seconds")
    return {
        **texts,
        "number": number if isinstance(number, int) else 0,
        "seconds": seconds if isinstance(seconds, int | float) else 0,
    }


def _variant(variant: Shown, jobs: Sequence[Shown], held: Sequence[Shown], releases: int) -> View:
    state = state_of(variant, jobs)
    commands = list(commands_for(variant, state, releases))
    until = next((str(one["until"]) for one in held if one["until"]), "")
    return {**variant, "state": state | {"until": until}, "commands": commands}


def _summary(variants: Sequence[View], facts: MachineFacts) -> View:
    """What the head of the page says."""
    states: list[Any] = [one["state"] for one in variants]
    tones = {tone: n for tone in TONES if (n := sum(one["tone"] == tone for one in states))}
    ready, wrong = sum(one["ready"] for one in states), len(facts.plan["problems"])
    text = _all(ready) if ready == len(states) else f"{ready} of {len(states)} variants serve what git declares"
    tone = "bad" if wrong or facts.daemon.last_error else worst(tones)
    if facts.not_known:
        text, tone = facts.not_known, "busy"
    if wrong:
        text += f"; {wrong} problem{'s' if wrong > 1 else ''} in what is declared"
    return {"text": text, "tone": tone, "tones": tones, "ready": ready, "variants": len(states)}


def _all(number: int) -> str:
    if not number:
        return "nothing is declared and nothing is served"
    which = {1: "the only variant serves", 2: "both variants serve"}.get(number, f"all {number} variants serve")
    return f"{which} what git declares"


def declared_models(
    models: Iterable[Model],
    files: Mapping[str, bytes],
    templates: Mapping[str, tuple[str, str]],
    rendered: Mapping[str, tuple[str, str]],
) -> list[View]:
    """What git declares of each model, as it was written, and its chat template: as written, and of one conversation
    what the model reads; `reason` says why that is not known. `files` are manifests by the name that models know them
    by; `templates` are origin and text by model; `rendered` are, by the text of a template, what it renders and why it
    does not."""
    views: list[View] = []
    for one in models:
        origin, template = templates.get(one.name, (one.template.origin, one.template.jinja or ""))
        not_known = "" if template else "its own template is known when the source is here"
        conversation, reason = rendered.get(template, ("", not_known))
        views.append(
            {
                "name": one.name,
                "file": one.file,
                "line": one.line,
                "text": document_at(files.get(one.file, b"").decode("utf-8", "replace"), one.line),
                "templateOrigin": origin,
                "template": template,
                "rendered": conversation,
                "reason": reason,
            }
        )
    return views


def document_at(text: str, line: int) -> str:
    """The YAML document that holds a line: from the marker before it to the next."""
    lines = text.split("\n")
    at = min(max(line - 1, 0), len(lines) - 1)
    begin = next((n + 1 for n in range(at - 1, -1, -1) if _is_marker(lines[n])), 0)
    end = next((n for n in range(at + 1, len(lines)) if _is_marker(lines[n])), len(lines))
    return "\n".join(lines[begin:end]).strip("\n")


def _is_marker(line: str) -> bool:
    return line[:3] in ("---", "...") and (len(line) == 3 or line[3] in " \t\r#")
