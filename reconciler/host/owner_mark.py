"""The mark that this root puts on all it creates: 32 random hex digits. What does not carry it is never
deleted.

It is written once. If it is lost, everything served so far has no owner and stays where it is; so an
unreadable mark is an error that a person has to look at, not a reason for a new one.
"""

import os
import re

from reconciler.domain.errors import PermanentError
from reconciler.domain.layout import Layout
from reconciler.host import durable

MARK = re.compile(r"[0-9a-f]{32}\n?")
HINT = "write back the `owner` that is named in release.json of any folder below served/"


def read_owner(layout: Layout) -> str:
    """The mark, or "" when nothing was ever created here."""
    try:
        with open(layout.owner, encoding="ascii", errors="replace") as file:
            mark = file.read(100)
    except FileNotFoundError:
        return ""
    if not MARK.fullmatch(mark):  # guard: an owner mark is never replaced
        raise PermanentError(f"{layout.owner} does not hold an owner mark", hint=HINT, code="OwnerUnreadable")
    return mark.strip()


def make_owner(layout: Layout) -> str:
    """The mark, drawn now if there is none. Only for the holder of the lock."""
    mark = read_owner(layout)
    if not mark:
        mark = os.urandom(16).hex()
        durable.make_folder(layout.root)
        durable.write_file(layout.owner, mark.encode() + b"\n")
    return mark
