"""An inventory for people. Reads the JSON form, as every renderer does; what others wrote is made safe. Pure."""

from collections.abc import Mapping
from typing import Any

from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.units import size_text


def inventory_text(view: Mapping[str, Any]) -> str:
    facts, disk = view["facts"], view["disk"]
    rows = {
        "machine": f"{view['machine']} ({facts['os']}/{facts['arch']}, {facts['cpus']} CPUs, "
        f"{size_text(facts['memoryBytes'])})",
        "labels": ", ".join(f"{key}={value}" for key, value in sorted(view["labels"].items())) or "none",
        "providers": ", ".join(facts["executionProviders"]),
        "disk": f"{size_text(disk['freeBytes'])} of {size_text(disk['totalBytes'])} free, "
        f"{size_text(disk['usedBytes'] or 0)} used by this root",
        "revision": view["appliedRevision"] or "none applied yet",
        "artifacts": f"{len(view['artifacts'])}",
    }
    lines = [f"{name:<10} {text}" for name, text in rows.items()]
    lines += [_variant(one) for one in view["variants"] if one["releases"] or one["conditions"]]
    return "\n".join(for_terminal(line) for line in lines) + "\n"


def _variant(one: Mapping[str, Any]) -> str:
    serving = [held["number"] for held in one["releases"] if held["registration"]]
    ready = next((c for c in one["conditions"] if c["type"] == "Ready"), None)
    state = f"{'ready' if ready['status'] == 'True' else 'not ready'} ({ready['reason']})" if ready else "no state"
    return f"{one['variant']}:{max(serving)}  {state}" if serving else f"{one['variant']}  not served, {state}"
