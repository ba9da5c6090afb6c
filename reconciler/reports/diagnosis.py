"""What `doctor` tells: one line a check, with what to do where it is not ok. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.domain.plain_data import as_dict
from reconciler.domain.text.escape import for_terminal
from reconciler.reports.view import FORMAT_VERSION, View


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """`check` is a stable name; `advice` is empty where nothing has to be done."""

    check: str  # cache | packages | disk | permissions | git | clock | lock | leftovers
    level: str  # ok | warning | error
    message: str
    advice: str = ""


def doctor_view(found: Iterable[Diagnosis]) -> View:
    return {"formatVersion": FORMAT_VERSION, "checks": [as_dict(one) for one in found]}


def doctor_text(view: Mapping[str, Any]) -> str:
    lines = []
    for one in view["checks"]:
        lines.append(f"{one['level']:<7}  {one['check']:<11}  {one['message']}".replace("\n", " "))
        if one["advice"]:
            lines.append(f"{'':<22}{one['advice']}")
    counts = [sum(one["level"] == level for one in view["checks"]) for level in ("error", "warning")]
    lines += ["", f"{counts[0]} error(s), {counts[1]} warning(s)"]
    return "".join(for_terminal(line) + "\n" for line in lines)
