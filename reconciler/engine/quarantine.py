"""`quarantine/` holds foreign files that were found where we serve. Each stays for the configured time
(`quarantineFor`), also on a full disk, and is then freed. An event says when it comes and when it goes.
"""

import os
import time
from math import inf

from reconciler.domain.layout import Layout
from reconciler.domain.quarantine import Ages, aged, is_ours, left
from reconciler.domain.text.units import size_text
from reconciler.engine.log import best_effort
from reconciler.engine.machine import Machine
from reconciler.host import durable
from reconciler.host.disk_usage import bytes_below
from reconciler.host.ownership import is_plain


def quarantine_folder(layout: Layout) -> str:
    """A new path in it, named by the time. The caller makes it."""
    return layout.at("quarantine", f"{time.time_ns()}")


def quarantined(machine: Machine) -> dict[str, float]:
    """Its content by name, with the seconds that it still stays."""
    return _left(machine, machine.records.quarantine_ages(), _names(machine.layout))


def age_quarantine(machine: Machine) -> None:
    """Once a pass, by the holder of the lock: add the time that has passed, and free what has stayed long enough."""
    names, held = _names(machine.layout), machine.records.quarantine_ages()
    if not names and not held.seconds:
        return
    ages = aged(held, names, time.time())
    lives = machine.traits.quarantine_for
    stays = "nothing frees it" if lives is None else f"it goes after {lives / 3600:g} h"
    with best_effort("record.lost"):  # on a full disk: then nothing has aged, which is safe
        for name in sorted(ages.seconds.keys() - held.seconds.keys()):
            _append(machine, "quarantine.kept", name, f"moved aside because it may be in use; {stays} (quarantineFor)")
        if ages != held:
            machine.records.save_quarantine_ages(ages)
    for name, seconds in _left(machine, ages, names).items():
        if not seconds:
            free_quarantined(machine, name)


def free_quarantined(machine: Machine, name: str) -> None:
    """Its name goes first. Links in it are unlinked, never followed."""
    path = machine.layout.at("quarantine", name)
    with best_effort("event.lost"):
        _append(machine, "quarantine.freed", name, "its time was over")
    durable.free(durable.unname(path, machine.layout.trash))


def _left(machine: Machine, ages: Ages, names: list[str]) -> dict[str, float]:
    moment, lives = time.time(), machine.traits.quarantine_for
    return {name: inf if lives is None else left(name, ages, moment, lives) for name in names}


def _append(machine: Machine, kind: str, name: str, why: str) -> None:
    path = machine.layout.at("quarantine", name)
    message = f"{path} ({size_text(bytes_below(path))}): {why}"
    machine.records.add_event(kind, message=message)


def _names(layout: Layout) -> list[str]:
    """Empty where `quarantine` is a link or a file: it is not entered."""
    folder = layout.at("quarantine")
    if not is_plain(layout.root, folder):
        return []
    try:
        return sorted(name for name in os.listdir(folder) if is_ours(name))
    except FileNotFoundError:
        return []
