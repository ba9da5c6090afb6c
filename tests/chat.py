"""Chat templates rendered as Hugging Face renders them: `tools` and `documents` are always given."""

import json
from functools import partial
from typing import Any, NoReturn

from jinja2.sandbox import ImmutableSandboxedEnvironment


class Refused(Exception):
    """The template called raise_exception."""


def _refuse(message: str) -> NoReturn:
    raise Refused(message)


_HUGGING_FACE = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
)
_HUGGING_FACE.globals["raise_exception"] = _refuse
_HUGGING_FACE.filters["tojson"] = partial(json.dumps, ensure_ascii=False)


def render(template: str, messages: list[dict[str, Any]], asked: bool) -> str:
    """`asked`: with the beginning of the answer (add_generation_prompt)."""
    given = {"messages": messages, "add_generation_prompt": asked, "tools": None, "documents": None}
    return _HUGGING_FACE.from_string(template).render(given)
