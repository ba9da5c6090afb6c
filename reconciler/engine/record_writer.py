"""Writes what a pass leaves in the records: for each step an event, a duration and a failure to remember; what serves,
was retired or rejected into histories; at the end conditions and revisions. On a full disk all that is lost, and the
pass goes on. Only roll-backs need the histories.
"""

import contextlib
from collections.abc import Mapping
from functools import partial

from reconciler.domain import history
from reconciler.domain.changes import Convert, FetchSource, Measure, Pull, Register, Verify, word_of
from reconciler.domain.desired import declared_releases
from reconciler.domain.errors import HostRefused, LockHeld
from reconciler.domain.failures import not_overcome, remember, still_declared
from reconciler.domain.history import REJECTED, HistoryEntry, not_in_the_future
from reconciler.domain.machine.registries import LOCAL
from reconciler.domain.plan import Outcome
from reconciler.domain.reasons import BY_FAILURE
from reconciler.domain.recorded import Condition, RecordedRelease
from reconciler.domain.release import Marker, Release
from reconciler.engine import log
from reconciler.engine.log import best_effort
from reconciler.engine.machine import Machine, locked_again, releases_of
from reconciler.engine.pass_context import PassContext
from reconciler.engine.pass_result import PassResult
from reconciler.engine.planning import Snapshot
from reconciler.gates.judgement import gate_statuses
from reconciler.host.clock import now
from reconciler.planner.conditions import Conditions, VariantFailure, judge, judge_kept, judge_source, transitions
from reconciler.planner.dependencies import still_known
from reconciler.planner.prune import outdated_protection
from reconciler.planner.removals import removals_left
from reconciler.planner.rollback import ended


def record_outcome(context: PassContext, outcome: Outcome) -> None:
    """One event a step, and its duration for later estimates."""
    change = outcome.change
    facts = {
        "variant": change.variant,
        "reason": change.reason,
        "revision": context.resolution.desired.revision,
        "seconds": round(outcome.seconds, 3),
    }
    details = {
        "number": change.number,
        "buildKey": change.build_key,
        "bytes": change.cost.download_bytes if outcome.status == "done" else 0,
        "code": outcome.code,
        "message": outcome.message,
        "word": word_of(change) if word_of(change) != change.action else "",
    }
    records = context.machine.records
    with best_effort("event.lost"):
        facts |= {name: value for name, value in details.items() if value}
        records.add_event(f"{change.action}.{outcome.status}", **facts)
    with best_effort("record.lost"):
        records.save_failures(remember(records.failures(), outcome, now()))
        if outcome.status == "failed" and outcome.permanent and isinstance(change, Verify):
            remember_rejected(outcome, context)
        if outcome.status == "done":
            _record_timing(context, outcome)


def _record_timing(context: PassContext, outcome: Outcome) -> None:
    """Later plans estimate from it."""
    records, change = context.machine.records, outcome.change
    if isinstance(change, FetchSource | Pull):
        records.save_timing(change.action, "", change.cost.download_bytes, outcome.seconds)
    elif isinstance(change, Convert | Measure | Verify | Register):
        wanted, recipe = context.wanted(change.variant), change.release.recipe
        precision = recipe.timed_as if isinstance(change, Convert) else recipe.precision
        records.save_timing(change.action, precision, wanted.source_bytes, outcome.seconds)


def record_pass(machine: Machine, last: Snapshot, result: PassResult) -> str:
    """Stamps last: they only save work. Returns why the records could not be written, or ""."""
    errors: list[HostRefused] = []
    with best_effort("record.lost", errors):
        machine.records.mend()
        _follow_protection(machine, last)
        _forget_undeclared(machine, last)
        _end_rollbacks(machine, last)
        _follow_dependencies(machine, last)
        _correct_future_times(machine, last)
        found = last.resolution
        judged = _judge_and_report(machine, last, result)
        gates = gate_statuses(found.desired, last.plan, machine.records.judged())
        wanted = declared_releases(found.desired, machine.records.wanted())
        machine.records.save_conditions(judged, gates=gates, wanted=wanted)
        answers = last.observed.answers if last.observed.convert != LOCAL else None
        source = judge_source(
            found.problems,
            found.warnings,
            last.recorded.conditions,
            now(),
            answers=answers,
            asks_trust=machine.traits.trust.asks,
            asks_sources=machine.traits.trust.asks_sources,
            asks_policies=bool(found.policies),
        )
        machine.records.save_machine_conditions(source)
        if result.converged:
            machine.records.save_applied(found.desired.revision)
        machine.stamps.save()
    for name in machine.records.take_aside():
        hint = "it is kept beside its place; what only it knew is forgotten"
        log.warning("record.set_aside", record=name, hint=hint)
    return next((str(one) for one in errors), "")


def record_some(machine: Machine, last: Snapshot, result: PassResult) -> None:
    """The conditions of the variants that `last` is about; those of all others stay."""
    with best_effort("record.lost"):
        judged = _judge_and_report(machine, last, result)
        machine.records.save_conditions({**machine.records.conditions(), **judged})


def _judge_and_report(machine: Machine, last: Snapshot, result: PassResult) -> dict[str, Mapping[str, Condition]]:
    """The conditions, and an event for each variant that became ready, is no longer ready, or stalls. The caller saves
    them afterwards: a crash in between repeats an event and loses none."""
    before, revision = machine.records.conditions(), last.resolution.desired.revision
    judged = _judged(before, last, result)
    for kind, variant, condition in transitions(before, judged):
        details = {"revision": revision, "message": condition.message}
        facts = {name: value for name, value in details.items() if value}
        machine.records.add_event(kind, variant=variant, reason=condition.reason, **facts)
    return judged


def _judged(before: Conditions, last: Snapshot, result: PassResult) -> dict[str, Mapping[str, Condition]]:
    """Of what is declared, and of what is served though it is not."""
    judged = judge(
        last.resolution.desired,
        last.observed,
        before,
        result.remaining,
        _failures(last, result),
        now(),
        suspensions=last.recorded.suspensions,
        running={
            change.variant if isinstance(change, Measure) else change.build_key: word_of(change)
            for change in result.running
        },
    )
    served = {name: held for name, held in before.items() if last.observed.serving(name) is not None}
    return {**served, **judge_kept(result.remaining, last.observed, before, now()), **judged}


def _failures(last: Snapshot, result: PassResult) -> dict[str, VariantFailure]:
    """By variant: what failed in this pass, or what failed before and is held back for it."""
    held = {hold.variant for hold in result.remaining.held if hold.reason in BY_FAILURE}
    found = {
        wanted.variant: VariantFailure(action=one.action, code=one.code, message=one.message)
        for wanted in last.resolution.desired.wanted
        for one in last.recorded.failures
        if wanted.variant in held and one.key.partition("@")[0] in wanted.failure_keys
    }
    return found | {
        one.change.variant: VariantFailure(action=word_of(one.change), code=one.code, message=one.message)
        for one in reversed(result.outcomes)
        if one.status in ("failed", "skipped")
    }


def _forget_undeclared(machine: Machine, last: Snapshot) -> None:
    """Drop remembered failures that were overcome, and those of what is no longer declared (unless manifests cannot be
    read just now)."""
    held, desired = machine.records.failures(), last.resolution.desired
    if not held:
        return
    left = not_overcome(held, last.observed.usable, _done(last))
    if desired.complete:
        keys = {key for one in desired.wanted for key in one.failure_keys}
        keys |= removals_left(last.observed, last.recorded)
        left = still_declared(left, keys, desired.unresolved)
    machine.records.save_failures(left)


def _end_rollbacks(machine: Machine, last: Snapshot) -> None:
    """Those by hand that their manifests have ended. Where another process writes them just now, the next pass does
    it."""
    before = last.recorded.rollbacks
    over = ended(last.resolution.desired, last.observed, before)
    if not over:
        return
    with contextlib.suppress(LockHeld), locked_again(machine, command="apply", suspends=True) as held:
        found = held.records.rollbacks()
        names = {name for name in over if found.get(name) == before[name]}
        held.records.save_rollbacks({name: one for name, one in found.items() if name not in names})
        for name in sorted(names):
            message = f"was {before[name]}; its manifest has changed since"
            held.records.add_event("rollback.undone", variant=name, reason="RolledBack", message=message)


def _done(last: Snapshot) -> set[str]:
    """VariantFailure keys of what serves and was measured as declared, with nothing left to do and nothing held."""
    busy = {one.variant for one in last.plan.changes} | {one.variant for one in last.plan.held}
    wanted = [one for one in last.resolution.desired.wanted if one.variant not in busy]
    served = [one for one in wanted if last.observed.serving(one.variant) is not None]
    return {key for one in served for key in (one.release.digest, one.measure_key)}


def _follow_protection(machine: Machine, last: Snapshot) -> None:
    """Write the manifest's `prune: disabled` into records and markers, because markers outlive lost records."""
    releases, folders = outdated_protection(last.resolution.desired, last.observed, last.recorded)
    for release in releases:
        machine.records.save_release(release)
    for path, marker in folders:
        machine.backend.rewrite_marker(path, marker, machine.stamps, machine.layout.staging)


def _follow_dependencies(machine: Machine, last: Snapshot) -> None:
    """What git declares, for the order in which it is pruned later."""
    served = {one.model for one in last.observed.registrations if last.observed.owns(one.owner)}
    served |= {one.model for one in last.recorded.releases.values()}
    old = last.recorded.depends_on
    machine.records.save_dependencies(still_known(old, last.resolution.desired, served))


def _correct_future_times(machine: Machine, last: Snapshot) -> None:
    """After the clock was set back, what was superseded in its future is superseded now."""
    moment = now()
    for variant, held in last.recorded.history.items():
        if any(one.superseded > moment for one in held):
            machine.records.change_history(variant, partial(not_in_the_future, now=moment))


def record_served(marker: Marker, release: Release, machine: Machine) -> None:
    """`release` has just been registered as `marker` says. No other function records what serves."""
    _remember(marker, release, machine)
    record_release(marker, machine)  # order: a successor is recorded, then its predecessor goes


def record_release(marker: Marker, machine: Machine) -> None:
    """A release that is registered, and in the history already."""
    machine.records.save_release(RecordedRelease.from_marker(marker, registered=now()))


def catch_up(seen: Snapshot, machine: Machine) -> None:
    """Write what serves or was retired and is not recorded, because the process that did it died in between. Done
    before a predecessor is retired, so that the history has that one too."""
    for wanted in seen.resolution.desired.wanted:
        folder = seen.observed.folder_behind(seen.observed.serving(wanted.variant))
        marker = folder.marker if folder is not None else None
        if marker is None or marker.release != wanted.release.digest:
            continue
        past = machine.records.history(wanted.variant)
        if all(one.number != marker.number for one in past):
            _remember(marker, wanted.release, machine)
        if marker.owner == machine.owner:
            machine.records.follow(marker, registered=now())
        names = seen.observed.registrations_of.get(wanted.variant, ())
        folders = seen.observed.folders_of.get(wanted.variant, ())
        for number in history.missing_retirements(past, {one.number for one in (*names, *folders)}):
            remember_retired(wanted.variant, number, machine, serving=marker.number)


def _remember(marker: Marker, release: Release, machine: Machine) -> None:
    """In the history, once; with what served before where that is missing (in a root of an earlier version)."""
    known = {one.number for one in machine.records.history(marker.variant)}
    for path, older in _older(marker, machine):
        if older.number not in known and (found := machine.backend.release_in(path, older)) is not None:
            _add(older, found, older.created, machine)
    if marker.number not in known:
        _add(marker, release, now(), machine)


def remember_retired(variant: str, number: int, machine: Machine, *, serving: int = 0) -> None:
    change = partial(history.retired, number=number, now=now(), serving=serving)
    machine.records.change_history(variant, change)


def remember_rejected(outcome: Outcome, context: PassContext) -> None:
    """A candidate that failed, and why. It has no number."""
    wanted = context.wanted(outcome.change.variant)
    past = HistoryEntry(
        number=0,
        digest=wanted.release.digest,
        release=wanted.release,
        artifact="",
        revision=context.resolution.desired.revision,
        registered=now(),
        outcome=REJECTED,
        message=f"{outcome.code}: {outcome.message}",
    )
    records = context.machine.records
    records.change_history(wanted.variant, partial(history.rejected, past=past))


def _add(marker: Marker, release: Release, when: str, machine: Machine) -> None:
    past = HistoryEntry(
        number=marker.number,
        digest=marker.release,
        release=release,
        artifact=marker.artifact,
        revision=marker.revision,
        registered=when,
    )
    machine.records.change_history(marker.variant, partial(history.registered, past=past))


def _older(marker: Marker, machine: Machine) -> list[tuple[str, Marker]]:
    """Earlier releases that are registered, in order. A folder that is not registered never served."""
    folders = [folder for folder in releases_of(machine, marker.variant) if folder.number < marker.number]
    if not folders:
        return []
    ours = {one.id for one in machine.backend.registrations() if one.owner == machine.owner}
    found = [(f.path, f.marker) for f in folders if f.marker and not f.damage and f.marker.owner == machine.owner]
    return sorted((one for one in found if one[1].id in ours), key=lambda one: one[1].number)
