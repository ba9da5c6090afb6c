"""What /healthz and /readyz answer. Pure.

Alive: the loop has given a sign of life in time. Ready: a pass has ended, every manifest could be read, and every
declared variant that is not suspended serves what git declares, or serves a whole predecessor during its upgrade.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.daemon.state import State
from reconciler.domain.reasons import PRUNE_GUARDS
from reconciler.domain.recorded import Condition

NAMED = 100  # variants that are named in one answer


@dataclass(frozen=True, kw_only=True)
class Health:
    good: bool
    facts: Mapping[str, object]


def alive(patience: float) -> Health:
    """`patience`: seconds for which the loop may still be silent before it counts as hanging."""
    good = patience > 0.0
    return Health(good=good, facts={"status": "alive" if good else "hangs"})


def ready(state: State) -> Health:
    waiting = list(not_ready(state))
    good = state.ready and not state.problems and not waiting
    facts = {
        "status": "ready" if good else "not ready",
        "firstPassDone": state.ready,
        "problems": state.problems,
        "variants": len(state.conditions),
        "notReady": waiting[:NAMED],
        "notReadyCount": len(waiting),
    }
    return Health(good=good, facts=facts)


def not_ready(state: State) -> Iterator[dict[str, str]]:
    """Reasons are codes: a message may name files of this machine."""
    for variant, held in sorted(state.conditions.items()):
        one = held.get("Ready")
        good = one is None or one.status == "True" or one.reason in PRUNE_GUARDS  # not declared any more
        if one is not None and not (good or _is_suspended(held) or _is_upgraded(held)):
            yield {"variant": variant, "reason": one.reason}


def _is_upgraded(held: Mapping[str, Condition]) -> bool:
    """Its predecessor is whole and answers, and the upgrade goes on: a long conversion must not take a machine out of
    a load balancer."""
    wanted = ("Serving", "IntegrityVerified", "Reconciling")
    return all(kind in held and held[kind].status == "True" for kind in wanted)


def _is_suspended(held: Mapping[str, Condition]) -> bool:
    """An operator asked for the difference to git."""
    return any(one.reason == "Suspended" for one in held.values())
