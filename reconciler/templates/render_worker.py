"""The child process that renders chat templates with jinja2 and counts tokens with `tokenizers`, if that is installed.

Imported by no module: `templates.renderer` starts it. Templates and tokenizers are hostile input. jinja2's sandbox
keeps a template away from Python's attributes; the limits of the process bound what the sandbox does not: processor
time for each call, memory, and no file, socket or process may be opened. The conversation arrives as data, and nothing
secret is in the memory of this process.

Templates are rendered as transformers does, but where the runtime that serves is known to differ and jinja2 can follow:
white space around tags is kept (no `trim_blocks`, no `lstrip_blocks`), and `length` and `lower` know bytes and ASCII.
`strftime_now` gives a constant, so that a rendering never depends on the day.

Limits: Windows has no resource limits; there the parent's time limit is the only one.
"""

import json
import re
import sys
from functools import lru_cache
from typing import Any, NoReturn

import jinja2.debug  # noqa: F401  jinja2 imports it at the first error, when no file can be opened any more
from jinja2 import Template, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import soft_str

from reconciler.host import confine
from reconciler.host.child_side import Emit, Json, serve
from reconciler.templates.syntax import EXTENSIONS

LONGEST = 100_000  # characters of a rendered text
MEMORY = 512 << 20  # bytes of address space
CPU_SECONDS = 2  # at most, of one call
RECURSION = 600  # frames: beyond it Python's own stack may overflow first

_WARM = "{% for m in messages %}{{ m.x | default('\\n') | tojson }}{% endfor %}{{ raise_exception('') }}"


class Refused(Exception):
    """The template called raise_exception."""


class TooLong(Exception):
    pass


def start(parameters: Json, emit: Emit) -> Json:
    """First call: load everything that later calls need, then give up files, network and processes for good."""
    if parameters["tokenizers"]:
        _load_tokenizers()
    render({"template": _WARM, "names": {"messages": [{}]}}, emit)
    sys.setrecursionlimit(RECURSION)
    confine.stay_private()
    confine.die_first()
    confine.drop_privileges(read_all=False)
    confine.limit(RLIMIT_AS=MEMORY, RLIMIT_FSIZE=0, RLIMIT_NPROC=0, RLIMIT_NOFILE=0)
    return {}


def render(parameters: Json, emit: Emit) -> Json:
    """`text`; or `refused`, the message of the template; or `failed`, why there is no text."""
    confine.limit_cpu(CPU_SECONDS)
    try:
        return {"text": _written(_compiled(parameters["template"]), parameters["names"])}
    except Refused as refused:
        return {"refused": str(refused)[:LONGEST]}
    except Exception as error:  # noqa: BLE001  whatever a template raises is its own failure
        return {"failed": _reason(error)}


def _reason(error: Exception) -> str:
    match error:
        case TemplateSyntaxError():
            return f"it is no Jinja: {error.message}"
        case RecursionError() | SyntaxError():  # SyntaxError: Python nests no deeper
            return "it is nested too deeply"
        case MemoryError():
            return "it takes too much memory"
        case TooLong():
            return f"it writes more than {LONGEST:,} characters"
    return f"it fails: {str(error)[:1000]}"


def count(parameters: Json, emit: Emit) -> Json:
    """`count` of the tokens of a text; null where they cannot be counted."""
    confine.limit_cpu(CPU_SECONDS)
    try:
        tokenizer = _load_tokenizers().from_str(parameters["tokenizer"])
        return {"count": len(tokenizer.encode(parameters["text"], add_special_tokens=False).ids)}
    except BaseException:  # noqa: BLE001  Rust panics are no Exception
        return {"count": None}


def _load_tokenizers() -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    return Tokenizer


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    return _ENVIRONMENT.from_string(template)


def _written(template: Template, names: Json) -> str:
    parts, length = [], 0
    for part in template.generate(names):
        parts.append(part)
        length += len(part)
        if length > LONGEST:
            raise TooLong
    return "".join(parts)


def _refuse(message: object = "") -> NoReturn:
    raise Refused(str(message))


def _to_json(
    held: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(held, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _length(held: Any) -> int:
    return len(held.encode() if isinstance(held, str) else held)


def _lower(held: Any) -> str:
    return re.sub("[A-Z]+", lambda found: found[0].lower(), soft_str(held))


class _Environment(ImmutableSandboxedEnvironment):
    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        """jinja2 itself would write nothing for it, and fail only at the next step."""
        raise SecurityError(f"access to {attribute!r} is unsafe")


_ENVIRONMENT = _Environment(extensions=EXTENSIONS)
_ENVIRONMENT.filters |= {"tojson": _to_json, "length": _length, "count": _length, "lower": _lower}
_ENVIRONMENT.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: "(now)"}
del _ENVIRONMENT.globals["lipsum"]  # random text

if __name__ == "__main__":
    serve({"start": start, "render": render, "count": count})
