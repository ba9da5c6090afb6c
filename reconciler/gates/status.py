"""What the gates said in the last pass, for those who have no manifests at hand: status, inventories, metrics. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.plan import Plan
from reconciler.domain.verdict import Verdict
from reconciler.gates.prompts import PromptsGate


@dataclass(frozen=True, kw_only=True)
class GateStatus:
    """`release` is the digest of what git declared, which need not be what serves; `prompts` names its golden prompts
    (`PromptsGate.key`), "" where there are none."""

    release: str
    prompts: str = ""
    verdicts: tuple[Verdict, ...] = ()


def gate_statuses(desired: Desired, plan: Plan, before: Mapping[str, GateStatus]) -> dict[str, GateStatus]:
    """By variant. Where a manifest cannot be read just now, what was judged before stays."""
    kept = {name: one for name, one in before.items() if name in desired.unresolved}
    if not desired.complete:
        kept = dict(before)
    wanted = [one for one in desired.wanted if one.variant in plan.verdicts]
    return kept | {one.variant: _judged(one, plan.verdicts[one.variant]) for one in wanted}


def _judged(wanted: DesiredRelease, verdicts: tuple[Verdict, ...]) -> GateStatus:
    """Without the words of answers: whoever wants them has `plan`."""
    gate = wanted.gates.get(PromptsGate)
    prompts = gate.key if gate is not None else ""
    told = tuple(replace(one, misses=()) if one.misses else one for one in verdicts)
    return GateStatus(release=wanted.declared.digest, prompts=prompts, verdicts=told)
