"""The JSON form of an inventory, for both directions.

Inventories of other machines come from a folder in git. Whoever can write there is not trusted, so every field has a
known type and every text, list and mapping a limit; anything else is refused. Pure.
"""

from __future__ import annotations

from typing import Any

from reconciler.domain.errors import PermanentError
from reconciler.domain.escape import one_line
from reconciler.fleet.inventory import FORMAT_VERSION, Inventory
from reconciler.host.codec import Codec, Misformed, limited, parse_json
from reconciler.planner.difference import camel

LONGEST = 4 << 20  # bytes of one inventory
LINE, PATH = 300, 4096  # characters of a text, and of a source root
MOST = 1000  # entries of any list or mapping

_CODEC = Codec(Inventory, camel)
_ROOTS = "sourceRoots"


class InventoryInvalid(PermanentError):
    code = "InventoryInvalid"


def inventory_view(inventory: Inventory) -> dict[str, Any]:
    """Its JSON form. Texts that are longer than a reader accepts are cut."""
    view = _CODEC.write(inventory)
    return {name: _cut(held, PATH if name == _ROOTS else LINE) for name, held in view.items()}


def read_inventory(data: bytes, file: str) -> Inventory:
    """Raises InventoryInvalid, naming `file` as the user knows it."""
    try:
        _check(parse_json(data, LONGEST))
        found = _CODEC.read_json(data)
        _check_answers(found)
    except Misformed as error:
        hint = "`reconciler inventory` of the machine writes a good one"
        raise InventoryInvalid(f"{file}: {error}", hint=hint) from None
    return found


def _check(document: object) -> None:
    """The version, and all sizes."""
    if not isinstance(document, dict):
        raise Misformed("", "a mapping", document)
    version = document.get("formatVersion")
    if version != FORMAT_VERSION:
        raise Misformed("formatVersion", f"{FORMAT_VERSION}, which this reconciler knows", version)
    for name, held in document.items():
        limited(held, PATH if name == _ROOTS else LINE, MOST, place=(name,))


def _check_answers(found: Inventory) -> None:
    """Answers stay on the machine that got them."""
    for at, one in enumerate(found.measured or ()):
        if one.answers:  # guard: an answer in a report is refused
            raise Misformed(f"measured[{at}].answers", "a mapping of at most 0", one.answers)


def _cut(held: Any, limit: int) -> Any:
    if isinstance(held, str):
        return one_line(held, limit)
    if isinstance(held, dict):
        return {key: _cut(inner, limit) for key, inner in held.items()}
    return [_cut(inner, limit) for inner in held] if isinstance(held, list) else held
