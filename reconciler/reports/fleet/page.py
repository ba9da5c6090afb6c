"""The fleet's page: one HTML file without a server. The machines stand in it as compact JSON, in which each text stands
once; a script shows the rows that are in sight, and searches and filters. Pure."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from reconciler.domain.reasons import BY_FAILURE, Reason
from reconciler.domain.text.escape import for_terminal
from reconciler.reports.html.document import Document, document
from reconciler.reports.text import Shown

MOST_GROUPS = 60  # columns of the matrix


def fleet_page(view: Shown) -> Document:
    """A document of its own, which asks nobody anything."""
    groups = view["groups"][:MOST_GROUPS]
    return document(
        "fleet/page.html.j2",
        styles=("fleet/fleet.css",),
        scripts=("fleet/fleet.js",),
        view=view,
        groups=groups,
        left_out=len(view["groups"]) - len(groups),
        matrix=[_row(one, groups) for one in view["matrix"]],
        old=[one for one in view["releases"] if one["wanted"] is False],
        behind=[one for one in view["releases"] if one["onlyBehind"]],
        data=_embedded(_packed(view)),
    )


def _row(one: Shown, groups: Sequence[str]) -> dict[str, Any]:
    held = {cell["group"]: cell for cell in one["cells"]}
    return {**one, "cells": [held.get(group) for group in groups]}


class _Texts:
    """Each text once; a row names it by its number."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        if text not in self._numbers:
            self._numbers[text] = len(self.held)
            self.held.append(for_terminal(text))
        return self._numbers[text]


def _packed(view: Shown) -> dict[str, Any]:
    """Rows as lists, in the order that `fleet.js` reads them."""
    texts = _Texts()
    rows = [_packed_machine(one, texts) for one in view["machines"]]
    head = {"head": view["repository"]["head"], "groupBy": view["groupBy"], "reasons": dict(_reasons(view))}
    return {**head, "texts": texts.held, "machines": rows}


def _reasons(view: Shown) -> Iterator[tuple[str, list[str]]]:
    """What the reasons on the page mean, and the verb that a person would type about a variant."""
    found = {held["reason"] for one in view["machines"] for held in one["variants"] if not held["ready"]}
    for reason in Reason:
        if str(reason) in found:
            yield str(reason), [reason.text, "retry" if reason in BY_FAILURE else ""]


def _packed_machine(one: Shown, texts: _Texts) -> list[Any]:
    number, state = texts.number, one["state"]
    labels = [[number(key), number(held)] for key, held in sorted(one["labels"].items())]
    return [
        number(one["name"]),
        number(one["group"]),
        number(one["ring"]),
        number(one["lastSeen"]),
        None if one["ageSeconds"] is None else round(one["ageSeconds"]),
        number(one["standing"]),
        number(one["why"]),
        number(one["commit"]),
        -1 if one["behind"] is None else one["behind"],
        number(one["compare"]),
        number(state["kind"]),
        number(state["reason"]),
        number(state["message"]),
        one["disk"]["freeBytes"],
        number(one["runtime"]),
        number(one["reconciler"]),
        number(one["imported"]),
        labels,
        [_packed_variant(held, texts) for held in one["variants"]],
        [number(held) for held in one["leftOut"]],
        [[number(c["type"]), number(c["reason"]), number(c["message"])] for c in one["conditions"]],
    ]


def _packed_variant(one: Shown, texts: _Texts) -> list[Any]:
    number = texts.number
    refused = [[number(r["release"]), number(r["outcome"]), number(r["message"])] for r in one["refused"]]
    return [
        number(one["variant"]),
        number(one["model"]),
        number(one["id"]),
        number(one["serves"]),
        number(one["wanted"]),
        number(one["since"]),
        int(one["ready"]),
        number(one["reason"]),
        number(one["message"]),
        refused,
    ]


def _embedded(data: object) -> Markup:
    """JSON inside a script element: nothing in it can end the element, or begin a comment."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")  # guard: data of a page cannot end its element
    return Markup(text)
