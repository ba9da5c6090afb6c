"""A page in HTML: its parts are escaped as they are put in, and it carries a policy under which nothing runs or is
loaded that does not stand in it. Style and scripts are files beside the templates; their digests are the policy.

The templates, addressed from this folder's parent (`machine/page.html.j2`), extend `html/base.html.j2` and take parts
from `html/parts.html.j2`. Pure: the templates belong to the code.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.units import size_text
from reconciler.domain.verdict import shown_number

STYLE = "html/look.css"


@dataclass(frozen=True, kw_only=True)
class Document:
    """`policy` is for the header Content-Security-Policy; the page holds what of it a page can."""

    html: str
    policy: str


def document(
    template: str,
    *,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    asks_its_server: bool = False,
    **given: Any,
) -> Document:
    """`styles` come after the common one. With `asks_its_server` scripts may ask where the page came from; else nothing
    may ask anything. `given` are what the template shows."""
    style = Markup("".join(map(_source, (STYLE, *styles))))
    script = Markup("".join(map(_source, scripts)))
    rules = _policy(style, script, asks_its_server)
    shown = {"style": style, "script": script, "policy": _written(rules)}
    html = environment().get_template(template).render(**given, **shown)
    return Document(html=html, policy=_written({**rules, "frame-ancestors": "'none'"}))


def fragment(template: str, **given: Any) -> Markup:
    """A part of a page, to be put into another."""
    return Markup(environment().get_template(template).render(**given))


@cache
def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("reconciler.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"size": size_text, "number": shown_number, "sentence": _sentence, "when": _when}
    return made


def _visible(held: object) -> object:
    """Of what a template puts in: control characters, which no escaping of HTML touches, shown as `\\x1b`. What is
    markup already (a subclass of `str`) was made here."""
    return for_terminal(held) if type(held) is str else held  # guard: a page shows control characters


def _sentence(text: str) -> str:
    """With a capital, where it begins with a word: a name of a file or a variant stays as it is."""
    first = text.partition(" ")[0].rstrip(",:;.!?")
    begun = f"{text[:1].upper()}{text[1:]}" if first.isalpha() else text
    return f"{begun}{'' if text.endswith(('.', '!', '?')) else '.'}"


def _when(time: str) -> str:
    """`2026-01-31T00:00:00Z` as people read it; anything else as it is."""
    return time.replace("T", " ").replace("Z", " UTC") if time.endswith("Z") else time


@cache
def _source(name: str) -> str:
    loader = environment().loader
    assert loader is not None
    return loader.get_source(environment(), name)[0]


def _policy(style: str, script: str, asks_its_server: bool) -> dict[str, str]:
    return {
        "default-src": "'none'",
        "style-src": _digest(style),
        "script-src": _digest(script) if script else "'none'",
        "connect-src": "'self'" if asks_its_server else "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _written(rules: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {held}" for name, held in rules.items())
