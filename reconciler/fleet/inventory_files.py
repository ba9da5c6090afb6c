"""A folder of inventories, one JSON file for each machine. One that cannot be read is a problem and harms no other."""

import os

from reconciler.domain.errors import Problem, UsageError
from reconciler.domain.text.quoting import printable
from reconciler.fleet.inventory import Inventory
from reconciler.fleet.inventory_form import LONGEST, InventoryInvalid, read_inventory
from reconciler.host.reading import read_whole

MOST = 1000


def read_inventories(folder: str) -> tuple[dict[str, Inventory], tuple[Problem, ...]]:
    """By file, as people name it."""
    if not os.path.isdir(folder):
        raise UsageError(f"--against: there is no folder {folder}")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
    found: dict[str, Inventory] = {}
    problems = [] if names else [_problem(folder, "expected a file NAME.json of `reconciler inventory`, got none")]
    for name in names[:MOST]:
        path = os.path.join(folder, name)
        shown = printable(os.path.normpath(path).replace(os.sep, "/"))
        try:
            if os.path.islink(path):
                raise OSError(0, "a symbolic link")
            found[shown] = read_inventory(read_whole(path, LONGEST), shown)
        except InventoryInvalid as error:
            problems.append(_problem(shown, str(error).removeprefix(f"{shown}: "), error.hint))
        except OSError as error:
            problems.append(_problem(shown, f"expected a readable file: {error.strerror}"))
    if len(names) > MOST:
        problems.append(_problem(folder, f"expected at most {MOST:,} inventories, got {len(names):,}"))
    return found, tuple(problems)


def _problem(file: str, message: str, hint: str = "") -> Problem:
    return Problem(code="InventoryInvalid", file=printable(file), message=message, hint=hint)
