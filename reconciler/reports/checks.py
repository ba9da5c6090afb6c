"""What `verify` and `doctor` found, as JSON views, and these views as text. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.domain.finding import Finding
from reconciler.domain.plain_data import as_dict
from reconciler.reports.text import Shown, terminal_lines
from reconciler.reports.view import FORMAT_VERSION, View


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One check of `doctor`. `check` is a stable name; `advice` is empty where there is nothing to do."""

    check: str  # cache | packages | disk | permissions | git | clock | lock | leftovers
    level: str  # ok | warning | error
    message: str
    advice: str = ""


def doctor_view(found: Iterable[Diagnosis]) -> View:
    return {"formatVersion": FORMAT_VERSION, "checks": [as_dict(one) for one in found]}


def doctor_text(view: Shown) -> str:
    lines = []
    for one in view["checks"]:
        lines.append(f"{one['level']:<7}  {one['check']:<11}  {one['message']}".replace("\n", " "))
        lines += [f"{'':<22}{one['advice']}"] if one["advice"] else []
    levels = [one["level"] for one in view["checks"]]
    return terminal_lines([*lines, "", f"{levels.count('error')} error(s), {levels.count('warning')} warning(s)"])


def findings_view(findings: Iterable[Finding]) -> View:
    return {"formatVersion": FORMAT_VERSION, "findings": [as_dict(finding) for finding in findings]}


def findings_text(view: Shown) -> str:
    """One line each, then what to do, each advice once."""
    found = view["findings"]
    lines = [f"{one['code']}: {one['where']}: {one['message']}".replace("\n", " ") for one in found]
    hints = dict.fromkeys(one["hint"] for one in found if one["hint"])
    return terminal_lines([*lines, *(f"hint: {hint}" for hint in hints)])
