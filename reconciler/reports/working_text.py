"""Who works on a machine right now, and what on, for people. Reads the JSON view only (engine.job)."""

from collections.abc import Mapping
from typing import Any

DOING = {"convert": "converting", "fetch": "downloading", "measure": "measuring"}


def working_lines(working: Mapping[str, Any] | None) -> list[str]:
    if working is None:
        return []
    pid, command, since = working["pid"], working["command"], working["since"]
    verb = "kept" if command == "run" else "worked on"
    return [
        *(f"{job['variant']}: {_doing(job)} (pid {pid}, {_how_far(job)})" for job in working["jobs"]),
        f"{verb} by `reconciler {command}` (pid {pid}) since {since}",
    ]


def _doing(job: Mapping[str, Any]) -> str:
    return DOING.get(job["action"], str(job["action"]))


def _how_far(job: Mapping[str, Any]) -> str:
    text = f", {job['text']}" if job["text"] else ""
    return f"{100 * job['fraction']:.0f} %{text}, since {job['since']}"
