"""What did not belong where we serve was moved to `quarantine/`, because it may be somebody's. There it lives for a
time that the machine's configuration says (`quarantineFor`), long enough to look at it and take it back, and then it
goes: with an event when it comes and one when it goes. A disk that is full does not shorten that time.
"""

import os
import time
from math import inf

from reconciler.domain.layout import Layout
from reconciler.domain.quarantine import Ages, aged, is_ours, left
from reconciler.domain.text.units import size_text
from reconciler.engine.machine import Machine
from reconciler.engine.refusals import best_effort
from reconciler.host import durable
from reconciler.host.clock import now
from reconciler.host.disk_usage import bytes_below
from reconciler.host.no_links import is_plain


def quarantine_folder(layout: Layout) -> str:
    """A new place in it; its name tells when. Made by whoever moves something there."""
    return layout.at("quarantine", f"{time.time_ns()}")


def quarantined(machine: Machine) -> dict[str, float]:
    """What we put there, with the seconds that it still stays."""
    return _left(machine, machine.records.quarantine_ages(), _names(machine.layout))


def age_quarantine(machine: Machine) -> None:
    """Once a pass, for the holder of the lock: let time pass for what is there, and free what has outlived it."""
    names, held = _names(machine.layout), machine.records.quarantine_ages()
    if not names and not held.seconds:
        return
    ages = aged(held, names, time.time())
    with best_effort("record.lost"):  # on a full disk: then nothing has aged, which is safe
        for name in sorted(ages.seconds.keys() - held.seconds.keys()):
            _tell(machine, "quarantine.kept", name, _fate(machine.traits.quarantine_for))
        if ages != held:
            machine.records.save_quarantine_ages(ages)
    for name, seconds in _left(machine, ages, names).items():
        if not seconds:
            free_quarantined(machine, name)


def free_quarantined(machine: Machine, name: str) -> None:
    """Its name goes first. Links in it are unlinked, never followed."""
    path = machine.layout.at("quarantine", name)
    with best_effort("event.lost"):
        _tell(machine, "quarantine.freed", name, "its time was over")
    durable.free(durable.unname(path, machine.layout.trash))


def _left(machine: Machine, ages: Ages, names: list[str]) -> dict[str, float]:
    moment, lives = time.time(), machine.traits.quarantine_for
    return {name: inf if lives is None else left(name, ages, moment, lives) for name in names}


def _fate(lives: float | None) -> str:
    stays = "nothing frees it" if lives is None else f"it goes after {lives / 3600:g} h"
    return f"moved aside because it may be somebody's; {stays} (quarantineFor)"


def _tell(machine: Machine, kind: str, name: str, why: str) -> None:
    path = machine.layout.at("quarantine", name)
    message = f"{path} ({size_text(bytes_below(path))}): {why}"
    machine.records.append_event({"time": now(), "type": kind, "message": message})


def _names(layout: Layout) -> list[str]:
    """Nothing, where `quarantine` is a link or a file: that is not ours to look into."""
    folder = layout.at("quarantine")
    if not is_plain(layout.root, folder):
        return []
    try:
        return sorted(name for name in os.listdir(folder) if is_ours(name))
    except FileNotFoundError:
        return []
