"""Findings of `verify` as a JSON view, and that view as text."""

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.domain.finding import Finding
from reconciler.domain.plain_data import as_dict
from reconciler.domain.text.escape import for_terminal
from reconciler.reports.view import FORMAT_VERSION, View


def findings_view(findings: Iterable[Finding]) -> View:
    return {"formatVersion": FORMAT_VERSION, "findings": [as_dict(finding) for finding in findings]}


def findings_text(view: Mapping[str, Any]) -> str:
    """One line each, then what to do, each advice once."""
    found = view["findings"]
    lines = [f"{one['code']}: {one['where']}: {one['message']}".replace("\n", " ") for one in found]
    lines += [f"hint: {hint}" for hint in dict.fromkeys(one["hint"] for one in found) if hint]
    return "".join(for_terminal(line) + "\n" for line in lines)
