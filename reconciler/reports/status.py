"""The JSON view of a machine, and that view for people: what it serves now, and the last pass's conditions corrected by
what is observed. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from reconciler.domain.measured import LongestPrompt, MeasurementSet
from reconciler.domain.observed import Observed
from reconciler.domain.plain_data import as_dict
from reconciler.domain.recorded import Condition, Recorded, Suspension
from reconciler.domain.text.names import model_of
from reconciler.domain.text.units import size_text
from reconciler.gates.judgement import GateStatus
from reconciler.planner.conditions import TYPES, Conditions
from reconciler.reports.drift import what_is_broken
from reconciler.reports.text import Shown, action_word, built_by, columns, tally, terminal_lines, unmet, verdict_line
from reconciler.reports.view import FORMAT_VERSION, View, camel_view, origin_view, verdict_view
from reconciler.state.progress import Reported, Scrubbed

HEADS = ("VARIANT", "ID", "PRECISION", "SIZE", "READY", "REASON", "GATES", "TEMPLATE", "SINCE")

_DOING = {"convert": "converting", "take": "taking", "fetch": "downloading", "pull": "pulling", "measure": "measuring"}
_WRONG = {
    "Followed": "not followed",
    "ManifestsValid": "manifests are invalid",
    "PoliciesMet": "a model breaks a policy",
    "BuildsTrusted": "a build is not trusted",
    "SourcesTrusted": "a source is not trusted",
}


def make_status(
    observed: Observed,
    recorded: Recorded,
    conditions: Conditions,
    scrubbed: Scrubbed,
    judged: Mapping[str, GateStatus],
    reported: Reported | None = None,
) -> View:
    """`conditions` are those of the last pass, by variant and type; `judged` are its gates' verdicts; `reported` is of
    the place that reports go to, None where there is none."""
    ours = {name for name in observed.registrations_of if observed.serving(name)}
    names = sorted(ours | recorded.releases.keys() | conditions.keys())
    return {
        "formatVersion": FORMAT_VERSION,
        "revision": recorded.last_applied_revision,
        "lastAttemptedRevision": recorded.last_attempted_revision,
        "lastAppliedRevision": recorded.last_applied_revision,
        "conditions": [camel_view(recorded.conditions[kind]) for kind in sorted(recorded.conditions)],
        "scrub": {
            "last": as_dict(scrubbed.last) if scrubbed.last.ended else None,
            "now": as_dict(scrubbed.now) if scrubbed.now.began else None,
            "text": str(scrubbed),
        },
        "report": _report(reported) if reported is not None else None,
        "variants": [_variant(name, observed, recorded, conditions.get(name, {}), judged.get(name)) for name in names],
    }


def _report(one: Reported) -> View:
    facts = {"to": one.to, "last": one.when or None, "failingSince": one.failing_since or None, "why": one.why}
    return {**facts, "text": str(one)}


def _variant(
    name: str, observed: Observed, recorded: Recorded, conditions: Mapping[str, Condition], judged: GateStatus | None
) -> View:
    registration, record = observed.serving(name), recorded.releases.get(name)
    folder = observed.folder_behind(registration)
    marker = folder.marker if folder else None
    facts = marker or record
    suspension = recorded.suspension_of(name, model_of(name))
    wrong = ", ".join(what_is_broken(name, observed, recorded))
    return {
        "variant": name,
        "id": registration.id if registration else None,
        "model": facts.model if facts else "",
        "precision": facts.precision if facts else name.rpartition("-")[2],
        "template": facts.template_origin if facts else "",
        "release": facts.release if facts else None,
        "artifact": facts.artifact if facts else None,
        "origin": origin_view(recorded.origins.get(facts.artifact)) if facts else None,
        "sizeBytes": sum(file.size for file in marker.files) if marker else 0,
        "revision": facts.revision if facts else "",
        "since": record.registered if record else (marker.created if marker else None),
        "runtimes": list(registration.runtimes) if registration else [],
        "answersTo": [registration.id, name] if registration else [],
        "suspension": as_dict(suspension) if suspension else None,
        "measured": _measured(recorded.measured, facts.release, facts.build_key) if facts else None,
        "gates": [verdict_view(verdict) for verdict in judged.verdicts] if judged else [],
        "gatesOf": judged.release if judged else None,
        "conditions": _conditions(conditions, wrong, is_registered=registration is not None),
    }


def _measured(known: MeasurementSet, release: str, build_key: str) -> View:
    """The numbers that its gates were judged by; null for what was never measured, or by another runtime."""
    found, fidelity = known.releases.get(release), known.fidelity.get(build_key)
    return {
        "fidelity": camel_view(fidelity) if fidelity else None,
        "load": camel_view(found.load) if found and found.load else None,
        "speeds": [camel_view(speed) for speed in found.speeds] if found else [],
        "endured": camel_view(found.endured) if found and found.endured else None,
        "released": camel_view(found.released) if found and found.released else None,
        "longestPrompt": camel_view(found.longest) if found and found.longest else None,
    }


def _conditions(conditions: Mapping[str, Condition], wrong: str, *, is_registered: bool) -> list[View]:
    """Those of the last pass. One that is true and that the observed state contradicts becomes false."""
    observed = {"Serving": is_registered, "IntegrityVerified": not wrong, "Ready": not wrong}
    views = []
    for condition in (conditions[kind] for kind in TYPES if kind in conditions):
        view = camel_view(condition)
        if condition.status == "True" and not observed.get(condition.type, True):
            view |= {"status": "False", "reason": "DriftDetected", "message": wrong}
        views.append(view)
    return views


def status_text(view: Shown) -> str:
    machine = list(working_lines(view.get("working")))
    for one in view["conditions"]:
        if one["status"] == "False":
            wrong = _WRONG.get(one["type"], one["type"])
            machine.append(f"{wrong} since {one['lastTransitionTime']} ({one['reason']}): {one['message']}")
    if not view["variants"]:
        return terminal_lines(["nothing is served by this reconciler", *machine])
    lines = columns([HEADS, *map(_row, view["variants"])])
    lines += ["", *(line for variant in view["variants"] for line in _complaints(variant)), *machine]
    lines.append(f"applied revision {view['lastAppliedRevision'] or 'none'}")
    if view["lastAttemptedRevision"] != view["lastAppliedRevision"]:
        lines.append(f"attempted revision {view['lastAttemptedRevision']}")
    lines += [f"{name}: {view[name]['text']}" for name in ("scrub", "report") if view.get(name)]
    return terminal_lines(lines)


def working_lines(working: Shown | None) -> Iterator[str]:
    """The process that holds the root, and its jobs (engine.job)."""
    if working is None:
        return
    pid, command = working["pid"], working["command"]
    for job in working["jobs"]:
        text = f", {job['text']}" if job["text"] else ""
        how_far = f"{100 * job['fraction']:.0f} %{text}, since {job['since']}"
        yield f"{job['variant']}: {_DOING.get(action_word(job), action_word(job))} (pid {pid}, {how_far})"
    verb = "kept" if command == "run" else "worked on"
    yield f"{verb} by `reconciler {command}` (pid {pid}) since {working['since']}"


def _row(variant: Shown) -> Sequence[str]:
    ready = condition_of(variant, "Ready")
    gates = tally(variant.get("gates", ()))
    if variant.get("gatesOf") not in (None, variant.get("release")):  # of what git declares, which does not serve
        gates += " (declared)"
    return (
        variant["variant"],
        variant["id"] or "-",
        variant["precision"],
        size_text(variant["sizeBytes"]),
        ready["status"],
        ready["reason"],
        gates,
        variant["template"],
        variant["since"] or "-",
    )


def _complaints(variant: Shown) -> Iterator[str]:
    name, suspension = variant["variant"], variant["suspension"]
    ready, stalled = condition_of(variant, "Ready"), condition_of(variant, "Stalled")
    if ready["status"] != "True":
        yield f"{name}: {ready['message']}"
    elif stalled["status"] == "True" and not suspension:
        yield f"{name}: {stalled['reason']}: {stalled['message']}"
    if (met := condition_of(variant, "PoliciesMet"))["status"] == "False":
        yield f"{name}: {met['reason']}: {met['message']}"
    if (chosen := condition_of(variant, "PrecisionChosen"))["status"] == "True":
        yield f"{name}: precision {chosen['message']}"
    yield from (f"{name}: {verdict_line(one)}" for one in unmet(variant.get("gates", ())))
    if longest := (variant.get("measured") or {}).get("longestPrompt"):
        yield f"{name}: {LongestPrompt(**longest)}"
    if variant.get("origin"):  # whose build it is that serves
        yield f"{name}: built by {built_by(variant['origin'])}"
    if suspension:
        too_long = stalled["reason"] == "SuspendedTooLong"
        yield f"{name}: {stalled['message'] if too_long else Suspension(**suspension)}"


def condition_of(variant: Shown, kind: str) -> Shown:
    """Of one variant of the view, by its type."""
    unknown = {"status": "Unknown", "reason": "-", "message": "no pass has judged it yet"}
    return next((one for one in variant["conditions"] if one["type"] == kind), unknown)
