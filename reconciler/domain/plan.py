"""Plan: ordered changes, with what is held back and why. Outcome: what became of one change. Values."""

from dataclasses import dataclass, field

from reconciler.domain.changes import Change
from reconciler.domain.reasons import Reason
from reconciler.domain.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Held:
    """What would be changed, but for `reason`. `until` is when time alone ends it (RFC 3339), else empty."""

    variant: str
    reason: Reason
    message: str
    until: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Ordered changes, and what is held back. False when there is nothing to do. `later` are predecessors that go in
    time and until then harm nothing; `not_selected` says by model name why it is not for this machine, `chosen` which
    precision of it this machine takes and why; `verdicts` are, by variant, what its gates say."""

    revision: str
    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()
    later: tuple[Held, ...] = ()
    not_selected: dict[str, str] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, tuple[Verdict, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.changes)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`status`: done | failed | skipped (something it needs failed) | cancelled (no longer planned). `seconds` is wall
    time; `code`, `message` and `hint` are set when it failed, `permanent` when it will fail again; `delay` are the
    seconds that the other side asked for before the next try."""

    change: Change
    status: str
    seconds: float = 0.0
    code: str = ""
    message: str = ""
    hint: str = ""
    permanent: bool = False
    delay: float = 0.0
