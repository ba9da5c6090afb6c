"""Each variant of a machine in short, as its report says it; and the report that an inventory amounts to. Pure."""

from collections.abc import Mapping

from reconciler.domain.history import ROLLED_BACK, SERVED, History, Rollback
from reconciler.domain.machine_report import REJECTED, UNKNOWN, GateReport, MachineReport, RefusedRelease, VariantReport
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Condition, Recorded
from reconciler.domain.text.names import model_of
from reconciler.domain.verdict import FAILED, INCONCLUSIVE, Verdict
from reconciler.fleet.inventory import HeldRelease, Inventory, Variant
from reconciler.gates.judgement import GateStatus, rejection_text
from reconciler.manifests.selector import labels_of

MOST_REFUSED = 5  # of each variant: what git wants, then the newest


def summary_of(
    observed: Observed,
    recorded: Recorded,
    conditions: Mapping[str, Mapping[str, Condition]],
    *,
    wanted: Mapping[str, str],
    judged: Mapping[str, GateStatus],
    histories: Mapping[str, History],
) -> tuple[VariantReport, ...]:
    """Of each variant that is declared or served by us. `wanted` has the declared releases, `judged` their gates."""
    ours = {name for name in observed.registrations_of if observed.serving(name) is not None}
    return tuple(
        _variant(
            name,
            observed,
            recorded,
            ready=conditions.get(name, {}).get("Ready"),
            wanted=wanted.get(name, ""),
            judged=judged.get(name),
            history=histories.get(name, ()),
        )
        for name in sorted({*ours, *wanted})
    )


def _variant(
    name: str,
    observed: Observed,
    recorded: Recorded,
    *,
    ready: Condition | None,
    wanted: str,
    judged: GateStatus | None,
    history: History,
) -> VariantReport:
    serving, record = observed.serving(name), recorded.releases.get(name)
    serves = (serving.release or "") if serving is not None else ""
    model = record.model if record is not None else model_of(name) or name
    gates = judged if judged is not None and judged.release == wanted else None
    return VariantReport(
        variant=name,
        model=model,
        precision=name.removeprefix(f"{model}-"),
        wanted=wanted,
        serves=serves,
        number=serving.number if serving is not None else 0,
        since=record.registered if record is not None and record.release == serves else "",
        ready=ready.status if ready is not None else UNKNOWN,
        reason=ready.reason if ready is not None else "",
        message=ready.message if ready is not None else "",
        ready_since=ready.last_transition_time if ready is not None else "",
        gates=tuple(_gate(one) for one in gates.verdicts if one.status != INCONCLUSIVE) if gates is not None else (),
        refused=_refused(history, recorded.rollbacks.get(name), gates, wanted),
    )


def _gate(one: Verdict) -> GateReport:
    message = one.message if one.status == FAILED else ""
    return GateReport(
        gate=one.gate, measure=one.measure, status=one.status, number=one.number, bar=one.bar, message=message
    )


def _refused(
    history: History, by_hand: Rollback | None, gates: GateStatus | None, wanted: str
) -> tuple[RefusedRelease, ...]:
    """The newest first: what the gates reject now, what a person went back from, what was rejected or rolled back
    before. Each release once."""
    found: list[RefusedRelease] = []
    if gates is not None and (why := rejection_text(gates.verdicts)):
        found.append(RefusedRelease(release=gates.release, outcome=REJECTED, message=why))
    if by_hand is not None:
        found += [
            RefusedRelease(release=one, outcome=ROLLED_BACK, message=by_hand.reason, when=by_hand.since)
            for one in by_hand.refused
        ]
    found += [
        RefusedRelease(release=one.digest, outcome=one.outcome, message=one.message, when=one.registered)
        for one in reversed(history)
        if one.outcome != SERVED
    ]
    newest: dict[str, RefusedRelease] = {}
    for one in found:
        newest.setdefault(one.release, one)
    return tuple(sorted(newest.values(), key=lambda one: one.release != wanted)[:MOST_REFUSED])


def report_of(inventory: Inventory) -> MachineReport:
    """For inventories of earlier versions, which have no summary, what can be read from the releases that they list."""
    return MachineReport(
        machine=inventory.machine,
        labels=labels_of(inventory.machine, inventory.labels, inventory.facts),
        generated=inventory.generated,
        counter=inventory.counter,
        commit=inventory.applied_revision,
        variants=inventory.summary or tuple(map(_from_releases, filter(_matters, inventory.variants))),
        left_out=inventory.left_out,
    )


def _matters(one: Variant) -> bool:
    return bool(one.conditions) or any(_serves(held) for held in one.releases)


def _serves(held: HeldRelease) -> bool:
    return held.registration is not None and held.registration.owned


def _from_releases(one: Variant) -> VariantReport:
    """What git wants is not known from these."""
    serving = max(filter(_serves, one.releases), key=lambda held: held.number, default=None)
    ready = next((found for found in one.conditions if found.type == "Ready"), None)
    content = serving.content if serving is not None else None
    model = content.model if content is not None else model_of(one.variant) or one.variant
    return VariantReport(
        variant=one.variant,
        model=model,
        precision=one.variant.removeprefix(f"{model}-"),
        serves=content.release if content is not None else "",
        number=serving.number if serving is not None else 0,
        since=content.since if content is not None else "",
        ready=ready.status if ready is not None else UNKNOWN,
        reason=ready.reason if ready is not None else "",
        message=ready.message if ready is not None else "",
        ready_since=ready.last_transition_time if ready is not None else "",
    )
