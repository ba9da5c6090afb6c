"""What a pass leaves in the records: an event, a duration and perhaps a remembered failure for each step, and at its
end conditions and revisions. A full disk loses them, and nothing else."""

from collections.abc import Mapping
from functools import partial

from reconciler.domain.changes import Convert, FetchSource, Measure, Register, Verify
from reconciler.domain.failures import not_overcome, remember, still_declared
from reconciler.domain.history import not_in_the_future
from reconciler.domain.plan import Outcome
from reconciler.domain.reasons import BY_FAILURE
from reconciler.domain.recorded import Condition
from reconciler.engine import log
from reconciler.engine.history_writer import remember_rejected
from reconciler.engine.machine import Machine
from reconciler.engine.options import PassResult
from reconciler.engine.pass_context import PassContext
from reconciler.engine.planning import Snapshot
from reconciler.engine.refusals import Refusals, best_effort
from reconciler.gates.status import gate_statuses
from reconciler.host.clock import now
from reconciler.planner.conditions import Conditions, VariantFailure, judge, judge_kept, judge_source, transitions
from reconciler.planner.prune import outdated_protection
from reconciler.planner.removals import removals_left


def record_outcome(context: PassContext, outcome: Outcome) -> None:
    """One event a step, and its duration for later estimates."""
    change = outcome.change
    event = {
        "time": now(),
        "type": f"{change.action}.{outcome.status}",
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
    }
    records = context.machine.records
    with best_effort("event.lost"):
        records.append_event(event | {k: v for k, v in details.items() if v})
    with best_effort("record.lost"):
        records.save_failures(remember(records.failures(), outcome, now()))
        if outcome.status == "failed" and outcome.permanent and isinstance(change, Verify):
            remember_rejected(outcome, context)
        if outcome.status == "done":
            _record_timing(context, outcome)


def _record_timing(context: PassContext, outcome: Outcome) -> None:
    """Of what later plans estimate."""
    records, change = context.machine.records, outcome.change
    if isinstance(change, FetchSource):
        records.save_timing(change.action, "", change.cost.download_bytes, outcome.seconds)
    elif isinstance(change, Convert | Measure | Verify | Register):
        wanted = context.wanted(change.variant)
        records.save_timing(change.action, wanted.release.precision, wanted.source_bytes, outcome.seconds)


def record_pass(machine: Machine, last: Snapshot, result: PassResult) -> str:
    """What only the records can tell: conditions and revisions. Stamps last: they only save work. Returns what kept
    them from being written, or ""."""
    refusals = Refusals()
    with refusals.best_effort("record.lost"):
        machine.records.mend()
        _follow_protection(machine, last)
        _forget_undeclared(machine, last)
        _trust_no_future(machine, last)
        before = machine.records.conditions()
        judged = _judged(before, last, result)
        _tell_news(machine, before, judged, last.resolution.desired.revision)
        gates = gate_statuses(last.resolution.desired, last.plan, machine.records.judged())
        machine.records.save_conditions(judged, gates)
        found = last.resolution
        said = judge_source(found.problems, found.warnings, last.recorded.conditions, now())
        machine.records.save_machine_conditions(said)
        if result.converged:
            machine.records.save_applied(last.resolution.desired.revision)
        machine.stamps.save()
    for name in machine.records.take_aside():
        hint = "it is kept beside its place; what only it knew is forgotten"
        log.warning("record.set_aside", record=name, hint=hint)
    return next((str(one) for one in refusals.said), "")


def record_some(machine: Machine, last: Snapshot, result: PassResult) -> None:
    """After work on a few variants by hand: their conditions. What is known of all others stays as it is."""
    with best_effort("record.lost"):
        before = machine.records.conditions()
        judged = {**before, **_judged(before, last, result)}
        _tell_news(machine, before, judged, last.resolution.desired.revision)
        machine.records.save_conditions(judged)


def _tell_news(machine: Machine, before: Conditions, judged: Conditions, revision: str) -> None:
    """An event for each variant that became ready, or is ready no more, or stalls. Before the conditions are saved: a
    crash in between tells it twice, never not at all."""
    for kind, variant, condition in transitions(before, judged):
        event = {"time": now(), "type": kind, "variant": variant, "reason": condition.reason}
        details = {"revision": revision, "message": condition.message}
        machine.records.append_event(event | {name: said for name, said in details.items() if said})


def _judged(before: Conditions, last: Snapshot, result: PassResult) -> dict[str, Mapping[str, Condition]]:
    """The conditions of what is declared, and of what is served though it is not."""
    judged = judge(
        last.resolution.desired,
        last.observed,
        before,
        result.remaining,
        _failures(last, result),
        now(),
        suspensions=last.recorded.suspensions,
        running={
            change.variant if isinstance(change, Measure) else change.build_key: change.action
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
        outcome.change.variant: _failure(outcome)
        for outcome in reversed(result.outcomes)
        if outcome.status in ("failed", "skipped")
    }


def _forget_undeclared(machine: Machine, last: Snapshot) -> None:
    """What nothing declares any more is forgotten, and what has come true; not while nobody can tell."""
    held, desired = machine.records.failures(), last.resolution.desired
    if not held:
        return
    left = not_overcome(held, last.observed.artifacts, _done(last))
    if desired.complete:
        keys = {key for one in desired.wanted for key in one.failure_keys}
        keys |= removals_left(last.observed, last.recorded)
        left = still_declared(left, keys, desired.unresolved)
    machine.records.save_failures(left)


def _done(last: Snapshot) -> set[str]:
    """What serves as git wants it, and was measured, with nothing left to do and nothing held back."""
    busy = {one.variant for one in last.plan.changes} | {one.variant for one in last.plan.held}
    wanted = [one for one in last.resolution.desired.wanted if one.variant not in busy]
    served = [one for one in wanted if last.observed.serving(one.variant) is not None]
    return {key for one in served for key in (one.release.digest, one.measure_key)}


def _follow_protection(machine: Machine, last: Snapshot) -> None:
    """The records and the markers say `prune: disabled` as the manifest said it last: the markers outlive records."""
    releases, folders = outdated_protection(last.resolution.desired, last.observed, last.recorded)
    for release in releases:
        machine.records.save_release(release)
    for path, marker in folders:
        machine.backend.rewrite_marker(path, marker, machine.stamps, machine.layout.staging)


def _trust_no_future(machine: Machine, last: Snapshot) -> None:
    """A clock that was set back: what was superseded in its future is superseded now."""
    moment = now()
    for variant, held in last.recorded.history.items():
        if any(one.superseded > moment for one in held):
            machine.records.change_history(variant, partial(not_in_the_future, now=moment))


def _failure(outcome: Outcome) -> VariantFailure:
    return VariantFailure(action=outcome.change.action, code=outcome.code, message=outcome.message)
