"""Failures that are remembered, and the retry policy: not again until the input changes, or not before a time. Pure.

A failure is remembered under the digest of what failed: the build key of a conversion; repository, commit and files of
a download; the release digest of what comes after them; the name of what cannot be removed. So a new source, recipe or
template is a new key, and nothing has to be lifted. What may pass by itself is tried again after 10 s, then after twice
as long each time, at most after an hour, and not before the time that the other side asked for; a share of up to a
quarter, taken from the key, keeps many machines from trying in step.

No clock is trusted with a decision: a failure that lies in the future (the clock was set back) holds nothing.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import reconciler
from reconciler.domain.backoff import STEP, spread
from reconciler.domain.changes import Change, Removal, runtime_key, word_of
from reconciler.domain.errors import GateFailed
from reconciler.domain.plan import Held, Outcome
from reconciler.domain.reasons import Reason
from reconciler.domain.text.units import FORM, Count, Seconds, Time

REMOVALS = frozenset({"retire", "prune"})  # actions
SERVING = frozenset({"verify", "register", "repair", "measure"})
KEPT = 500
NO_LIMITS: dict[str, int] = {}

LIFTED = "tried again when its input changes, or with `reconciler retry`"


@dataclass(frozen=True, kw_only=True)
class RememberedFailure:
    """The last of `attempts` failures. Times are RFC 3339, UTC. `permanent`: it fails again until its input changes.
    `version` is the program's: another one may do better."""

    key: str
    action: str  # word_of the change; of a ready model `convert` in records of earlier versions
    variant: str
    code: str
    message: str
    hint: str
    attempts: Count
    first: Time
    last: Time
    permanent: bool
    version: str
    delay: Seconds = 0.0  # that the other side asked for


@dataclass(frozen=True, kw_only=True)
class RetryRequest:
    """A user wants to see it tried again: the failure under this key, as it was then. Later ones count from there."""

    key: str
    first: Time
    attempts: Count


def forgiven(failures: Iterable[RememberedFailure], requests: Iterable[RetryRequest]) -> tuple[RememberedFailure, ...]:
    """As they count after the requests: those that were forgiven are not there, later ones have fewer attempts."""
    asked = {(one.key, one.first): one.attempts for one in requests}
    left = ((one, one.attempts - asked.get((one.key, one.first), 0)) for one in failures)
    return tuple(one if one.attempts == count else replace(one, attempts=count) for one, count in left if count > 0)


def runtime_failure(failures: Iterable[RememberedFailure], release: str, runtime: Mapping[str, str]) -> str:
    """Why a release that served before does not even answer with this runtime; "" where no such failure is known."""
    key = runtime_key(release, runtime) if failures else ""
    return next((one.message for one in failures if one.key == key and one.permanent), "")


def remember(failures: Iterable[RememberedFailure], outcome: Outcome, now: str) -> tuple[RememberedFailure, ...]:
    """`failures` after one more outcome. What was cancelled or skipped has neither failed nor succeeded; of what a gate
    rejects the numbers are kept, and judged again (`gates.judgement`)."""
    failures = tuple(failures)
    key = outcome.change.failure_key
    if not key or outcome.status not in ("done", "failed") or outcome.code == GateFailed.code:
        return failures
    if outcome.status == "done":
        return tuple(one for one in failures if one.key != key or not _is_over(one, outcome.change))
    before = next((one for one in failures if one.key == key), None)
    others = tuple(one for one in failures if one.key != key)
    return (*others, _one_more(before, outcome, key, now))[-KEPT:]


def _is_over(failure: RememberedFailure, change: Change) -> bool:
    """A release that was verified once more may fail to be registered once more."""
    return failure.action in (change.action, word_of(change)) or change.action in ("register", "repair")


def _one_more(before: RememberedFailure | None, outcome: Outcome, key: str, now: str) -> RememberedFailure:
    again = before is not None and before.action in (outcome.change.action, word_of(outcome.change))
    return RememberedFailure(
        key=key,
        action=word_of(outcome.change),
        variant=outcome.change.variant,
        code=outcome.code,
        message=outcome.message,
        hint=outcome.hint,
        attempts=before.attempts + 1 if before is not None and again else 1,
        first=before.first if before is not None and again else now,
        last=now,
        permanent=outcome.permanent and not isinstance(outcome.change, Removal),  # no input of it could change
        version=reconciler.__version__,
        delay=outcome.delay,
    )


def still_declared(
    failures: Iterable[RememberedFailure], keys: Container[str], unclear: Container[str]
) -> tuple[RememberedFailure, ...]:
    """Those of what is declared; of `unclear` variants it is unknown for now, so theirs stay."""
    return tuple(one for one in failures if base_key(one) in keys or one.variant in unclear)


def not_overcome(
    failures: Iterable[RememberedFailure], stored: Container[str], done: Container[str]
) -> tuple[RememberedFailure, ...]:
    """Without those whose work is done nevertheless: a step may have been refused its last write only, and the next
    pass finds nothing left to do. `stored` are build keys, `done` the keys of what serves with nothing left to do."""
    over = {"convert": stored, "take": stored, **dict.fromkeys(SERVING, done)}
    left = (one for one in failures if one.key not in over.get(one.action, ()))
    return tuple(one for one in left if one.action != "pull" or base_key(one) not in stored)


def held_by(failure: RememberedFailure, variant: str, now: str, limit: int | None = None) -> Held | None:
    """None where it may be tried now. `limit`: how often it may be tried again at all."""
    if failure.version != reconciler.__version__:
        return None
    what = f"{failure.action} failed at {failure.last}: {failure.message}"
    if failure.permanent:
        return Held(variant=variant, reason=Reason.FAILED_BEFORE, message=f"{what} ({LIFTED})")
    if is_exceeded(failure, limit):
        message = f"{what}, {_times(failure)}, and retry.limit is {limit} ({LIFTED})"
        return Held(variant=variant, reason=Reason.RETRIES_EXCEEDED, message=message)
    until = next_try(failure)
    if not failure.last <= now < until:
        return None
    times = f", {_times(failure)}" if failure.attempts > 1 else ""
    message = f"{what}{times}; next try at {until}"
    return Held(variant=variant, reason=Reason.BACKOFF_ACTIVE, message=message, until=until)


def is_exceeded(failure: RememberedFailure, limit: int | None) -> bool:
    return limit is not None and not failure.permanent and failure.attempts > limit


def _times(failure: RememberedFailure) -> str:
    return "once" if failure.attempts == 1 else f"{failure.attempts} times"


def next_try(failure: RememberedFailure) -> str:
    last = datetime.strptime(failure.last, FORM).replace(tzinfo=UTC)
    return (last + timedelta(seconds=max(backoff(failure.key, failure.attempts), failure.delay))).strftime(FORM)


def backoff(key: str, attempts: int) -> int:
    """Whole seconds. The same key and number give the same, so that plans stay pure."""
    drawn = sha256(f"{key} {attempts}".encode()).digest()[0] / 256
    return min(int(STEP.longest), round(spread(STEP.after(attempts), 1.0, 1.25, drawn)))


def without_backoff(
    failures: Iterable[RememberedFailure], known: Container[RememberedFailure], limits: Mapping[str, int] = NO_LIMITS
) -> tuple[RememberedFailure, ...]:
    """For `apply`: back-offs that were `known` when the user started it do not count; each is tried once. But for
    those that were tried as often as the manifests allow: `limits` are by key."""
    return tuple(
        one for one in failures if one.permanent or one not in known or is_exceeded(one, limits.get(base_key(one)))
    )


def base_key(failure: RememberedFailure) -> str:
    """The key of what failed: a build's for each of its offers, a release's for each runtime."""
    return failure.key.partition("@")[0]
