"""SPDX licence expressions: how a licence is spelt, and whether a list of licences lets an expression through. The one
module that knows `license_expression`, which loads (0.1 s) where there is a licence to read."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.text.quoting import nearest

REF = "LicenseRef-"  # begins the name of a licence that is not on SPDX's list
UNNAMED = frozenset({"", "other", "unknown", "unlicensed"})  # Hugging Face's words for none that has a name

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}")
_REF = re.compile(r"\blicenseref-([a-z0-9.-]+)", re.IGNORECASE)
_LETTERS = re.compile(r"[A-Za-z0-9.:+() -]{1,512}")  # anything else is no expression, and some of it ends the parser


@lru_cache(maxsize=1)
def _spdx() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


@lru_cache(maxsize=4096)
def normalised(text: str) -> str:
    """The expression with the ids of SPDX's list and LicenseRef-NAMEs in lower case; "" for what is none."""
    if not _LETTERS.fullmatch(text):
        return ""
    from license_expression import ExpressionError

    text = _REF.sub(lambda found: REF + found[1].lower(), text)
    try:
        parsed = _spdx().parse(text, strict=True)
        known = all(_is_known(one.key) for one in _spdx().license_symbols(parsed, unique=True))
        return str(parsed.render()) if known else ""
    except (ExpressionError, RecursionError):
        return ""


def _is_known(key: str) -> bool:
    return key in _spdx().known_symbols or key.startswith(REF)


def one_license(text: str) -> str:
    """A single licence as a policy names it: an id of SPDX's list, or LicenseRef-NAME; "" for anything else."""
    found = normalised(text)
    return "" if " " in found else found


def meant(text: str) -> str:
    """A hint for a name that is on no list."""
    close = nearest(text, (one for one in _spdx().known_symbols if not one.startswith(REF)))
    return close or f"one that is not on SPDX's list is written {REF}NAME, as in {REF}llama3.2"


def declared_license(card: ModelCard) -> str:
    """What a model card declares, as one expression with the ids of SPDX's list and LicenseRef-NAME for others; ""
    where it names none, or what is no expression. All licences of a list hold together."""
    parts = [_readable(one, card) for one in card.licenses]
    return " AND ".join(f"({one})" if " " in one and len(parts) > 1 else one for one in parts) if all(parts) else ""


def _readable(text: str, card: ModelCard) -> str:
    text = card.license_name if text.lower() in UNNAMED else text
    if text.lower() in UNNAMED:
        return ""
    return normalised(text) or (REF + text.lower() if _NAME.fullmatch(text) else "")


def lets_through(expression: str, takes: Callable[[str], bool]) -> bool:
    """Whether an expression of `declared_license` can be met with licences that `takes` accepts: one side of each OR,
    both of each AND. An exception (WITH) only allows more, so its licence is asked."""
    return _holds(_spdx().parse(expression), takes)


def _holds(part: Any, takes: Callable[[str], bool]) -> bool:
    operator = getattr(part, "operator", "").strip()
    if operator == "OR":
        return any(_holds(one, takes) for one in part.args)
    if operator == "AND":
        return all(_holds(one, takes) for one in part.args)
    base = getattr(part, "license_symbol", part)
    return takes(str(base.key))
