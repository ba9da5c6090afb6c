"""The JSON form of an inventory, written and read, and folders of such files, one for each machine.

Inventories of other machines come from a folder in git. Whoever can write there is not trusted, so every field has a
known type and every text, list and mapping a limit; anything else is refused.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from reconciler.domain.errors import PermanentError, Problem, UsageError
from reconciler.domain.failures import RememberedFailure
from reconciler.domain.machine.facts import Facts
from reconciler.domain.machine.registries import LOCAL
from reconciler.domain.machine_report import GateReport, RefusedRelease, VariantReport
from reconciler.domain.measured import Decoded, Fidelity, Measured, Measurements, Tokenized, without_nothing
from reconciler.domain.recorded import Condition, Suspension, Timing
from reconciler.domain.text.escape import one_line
from reconciler.domain.text.names import json_name
from reconciler.domain.text.quoting import field_path, printable
from reconciler.fleet.inventory import FORMAT_VERSION, LONGEST_NAME, Inventory, is_digest, is_name, is_short
from reconciler.host.codec import Codec, Misformed, limited, parse_json
from reconciler.host.reading import read_whole

LONGEST = 4 << 20  # bytes of one inventory
SIGNATURE = ".sigstore.json"  # behind the name of an inventory: its signature
LINE = 300  # characters of a text
_LONGEST_TEXT = {"machine": LONGEST_NAME, "sourceRoots": 4096}  # of these fields, for writing and reading
MOST = 1000  # entries of any list or mapping, and files of a folder

_CODEC = Codec(Inventory, json_name)

# The domain's types are those of the records too, which accept more, so their texts are checked after reading: a text,
# the texts of a list, the keys of a mapping.
_TEXTS: dict[type, dict[str, Callable[[str], bool]]] = {
    Facts: {"os": is_name, "arch": is_name, "execution_providers": is_name},
    Condition: {"type": is_name, "status": is_name, "last_transition_time": is_short},
    Suspension: {"name": is_name, "since": is_short, "until": is_short},
    Timing: {"action": is_name, "precision": is_name},
    RememberedFailure: dict.fromkeys(("key", "action", "variant", "code", "version"), is_name),
    Fidelity: {"build_key": is_digest, "prompts": is_digest},
    Measurements: {"runtime": is_name},
    Tokenized: {"texts": is_digest},
    Decoded: {"method": is_digest},
    Measured: {
        **dict.fromkeys(("release", "build_key", "rendered", "refused", "asked", "right"), is_digest),
        "times": is_name,
    },
    GateReport: dict.fromkeys(("gate", "measure", "status"), is_name),
    RefusedRelease: {"release": is_digest, "outcome": is_name, "when": is_short},
    VariantReport: {
        **dict.fromkeys(("variant", "model", "ready"), is_name),
        **dict.fromkeys(("precision", "wanted", "serves", "reason"), is_digest),
        **dict.fromkeys(("since", "ready_since"), is_short),
    },
}
# Fields that earlier versions do not know, and what they are where there is nothing to say.
_LATER: dict[str, object] = {
    "convert": LOCAL,
    "conversionMemory": 0,
    "imported": None,
    "counter": 0,
    "leftOut": [],
    "conditions": [],
    "summary": [],
}


class InventoryInvalid(PermanentError): ...


def inventory_view(inventory: Inventory) -> dict[str, Any]:
    """Its JSON form. Texts that are longer than a reader accepts are cut."""
    view = _CODEC.write(inventory)
    for name in ("measured", "fidelity"):
        view[name] = view[name] and [without_nothing(one) for one in view[name]]
    view["summary"] = [_without_empty(one) for one in view["summary"]]
    return {
        name: _cut(held, _LONGEST_TEXT.get(name, LINE))
        for name, held in view.items()
        if name not in _LATER or held != _LATER[name]
    }


def _without_empty(held: Any) -> Any:
    """What has nothing to say is left out: there is one row for each variant."""
    if isinstance(held, dict):
        return {key: _without_empty(inner) for key, inner in held.items() if inner not in (None, "", [])}
    return [_without_empty(inner) for inner in held] if isinstance(held, list) else held


def read_inventory(data: bytes, file: str) -> Inventory:
    """Raises InventoryInvalid, naming `file` as the user knows it."""
    try:
        document = parse_json(data, LONGEST)
        if not isinstance(document, dict):
            raise Misformed("", "a mapping", document)
        if (version := document.get("formatVersion")) != FORMAT_VERSION:
            raise Misformed("formatVersion", f"{FORMAT_VERSION}, which this reconciler knows", version)
        for name, value in document.items():
            limited(value, _LONGEST_TEXT.get(name, LINE), MOST, place=(name,))
        found = _CODEC.read_json(data)
        _check_texts(found, ())
        for at, one in enumerate(found.measured or ()):
            if one.answers:  # guard: an answer in a report is refused
                raise Misformed(f"measured[{at}].answers", "a mapping of at most 0", one.answers)
    except Misformed as error:
        hint = "`reconciler inventory` of the machine writes a good one"
        raise InventoryInvalid(f"{file}: {error}", hint=hint) from None
    return found


def read_inventories(folder: str) -> tuple[dict[str, Inventory], tuple[Problem, ...]]:
    """By file, as the user names it. A file that cannot be read is a problem and harms no other."""
    if not os.path.isdir(folder):
        raise UsageError(f"--against: there is no folder {folder}")
    names = sorted(filter(is_inventory, os.listdir(folder)))
    found: dict[str, Inventory] = {}
    problems = [] if names else [_problem(folder, "expected a file NAME.json of `reconciler inventory`, got none")]
    for name in names[:MOST]:
        path = os.path.join(folder, name)
        shown = printable(os.path.normpath(path).replace(os.sep, "/"))
        try:
            if os.path.islink(path):
                raise OSError(0, "a symbolic link")
            found[shown] = _whole(read_inventory(read_whole(path, LONGEST), shown), shown)
        except InventoryInvalid as error:
            problems.append(_problem(shown, str(error).removeprefix(f"{shown}: "), error.hint))
        except OSError as error:
            problems.append(_problem(shown, f"expected a readable file: {error.strerror}"))
    if len(names) > MOST:
        problems.append(_problem(folder, f"expected at most {MOST:,} inventories, got {len(names):,}"))
    return found, tuple(problems)


def is_inventory(name: str) -> bool:
    """By the name of its file: a signature beside it is none."""
    return name.endswith(".json") and not name.endswith(SIGNATURE) and not name.startswith(".")


def _whole(found: Inventory, file: str) -> Inventory:
    """What a report has no room for, a prediction needs."""
    if found.left_out:
        message = f"{file}: expected a whole inventory, got a report without {', '.join(found.left_out)}"
        raise InventoryInvalid(message, hint="take `reconciler inventory` on that machine")
    return found


def _problem(file: str, message: str, hint: str = "") -> Problem:
    return Problem(code="InventoryInvalid", file=printable(file), message=message, hint=hint)


def _check_texts(found: object, place: tuple[int | str, ...]) -> None:
    if isinstance(found, dict | tuple):
        inside: Iterable[tuple[int | str, object]] = found.items() if isinstance(found, dict) else enumerate(found)
        for index, inner in inside:
            _check_texts(inner, (*place, index))
    elif is_dataclass(found):
        for one in fields(found):
            held, at = getattr(found, one.name), (*place, json_name(one.name))
            if check := _TEXTS.get(type(found), {}).get(one.name):
                _fit(check, held, at)
            _check_texts(held, at)
        if isinstance(found, Measured):
            for key, code in found.refused.items():
                _fit(is_name, code, (*place, "refused", key))


def _fit(check: Callable[[str], bool], held: str | tuple[str, ...] | dict[str, Any], at: tuple[int | str, ...]) -> None:
    """A text, the texts of a list, or the keys of a mapping."""
    if isinstance(held, tuple):
        for number, text in enumerate(held):
            _fit(check, text, (*at, number))
        return
    for text, place in [(held, at)] if isinstance(held, str) else [(key, (*at, "[key]")) for key in held]:
        try:
            check(text)
        except ValueError as error:
            raise Misformed(field_path(place), str(error), text) from None


def _cut(held: Any, limit: int) -> Any:
    if isinstance(held, str):
        return one_line(held, limit)
    if isinstance(held, dict):
        return {key: _cut(inner, limit) for key, inner in held.items()}
    return [_cut(inner, limit) for inner in held] if isinstance(held, list) else held
