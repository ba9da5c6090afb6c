"""How far the scrub has come, as a value and in words. Times are RFC 3339, UTC. Pure."""

from dataclasses import dataclass

from reconciler.domain.text.units import size_text


@dataclass(frozen=True, kw_only=True)
class Round:
    """One reading of everything. `found` counts the files whose bytes were not what their stamps promised."""

    began: str = ""
    ended: str = ""
    checked: int = 0  # bytes
    total: int = 0
    found: int = 0


@dataclass(frozen=True, kw_only=True)
class Scrubbed:
    """`last` is the newest complete round, `now` the one under way (`began` is "" when none is). `position` is the last
    file that is done, below the root, in the order of names."""

    last: Round = Round()
    now: Round = Round()
    position: str = ""

    def __str__(self) -> str:
        parts = []
        if self.last.ended:
            parts.append(f"every byte was read by {self.last.ended} ({_told(self.last)})")
        else:
            parts.append("no complete scrub yet")
        if self.now.began:
            parts.append(f"{size_text(self.now.checked)} of {size_text(self.now.total)} read since {self.now.began}")
        return "; ".join(parts)


def _told(done: Round) -> str:
    return f"{size_text(done.checked)}, {done.found} damaged"
