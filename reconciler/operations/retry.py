"""Ask for another try of what failed here and is held back; it is an event.

As with suspensions, the caller holds their lock and not the root's: a daemon goes on, and the changed file wakes it.
The request names a failure as it is now, so it needs no clock, and a later failure counts from there.
"""

from reconciler.domain.failures import RememberedFailure, RetryRequest, forgiven
from reconciler.domain.text.names import model_of
from reconciler.engine.machine import Machine


def retry(machine: Machine, name: str = "", *, dry_run: bool = False) -> tuple[RememberedFailure, ...]:
    """What is tried again: the failures of a model or a variant, of all for "". Those that were asked for already, and
    hold nothing any more, are left out."""
    records = machine.records
    failures, requests = records.failures(), records.retries()
    asked = tuple(one for one in forgiven(failures, requests) if name in ("", one.variant, model_of(one.variant)))
    if asked and not dry_run:
        names = {(one.key, one.first) for one in asked}
        new = [
            RetryRequest(key=one.key, first=one.first, attempts=one.attempts)
            for one in failures
            if (one.key, one.first) in names
        ]
        known = {(one.key, one.first) for one in failures} - names
        records.save_retries((*(one for one in requests if (one.key, one.first) in known), *new))
        for one in asked:
            facts = {"variant": one.variant, "reason": "RetryAsked", "message": f"{one.action}: {one.message}"}
            records.add_event("retry.done", **{key: text for key, text in facts.items() if text})
    return asked
