"""The log, through structlog: constant event names plus key/values, JSON when stderr is no terminal.

A command logs warnings and errors only, because its reporter shows every step; `--verbose` and the daemon log all.
"""

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from reconciler.domain.errors import HostRefused, ReconcilerError, refused
from reconciler.domain.text.escape import for_terminal

_talkative = False
_bound: ContextVar[dict[str, object]] = ContextVar("bound", default={})  # noqa: B039 - replaced, never changed
_omitted: frozenset[str] = frozenset()


def talk(*, without: frozenset[str] = frozenset()) -> None:
    """Log every pass, not only what is wrong; `without` events that the caller shows in another form."""
    global _talkative, _omitted
    _talkative, _omitted = True, without


def info(event: str, **facts: object) -> None:
    if _talkative and event not in _omitted:
        _logger().info(event, **facts)


def warning(event: str, **facts: object) -> None:
    _logger().warning(event, **facts)


@contextlib.contextmanager
def bound(**facts: object) -> Iterator[None]:
    """Every line of the block carries these facts too."""
    token = _bound.set({**_bound.get(), **facts})
    try:
        yield
    finally:
        _bound.reset(token)


def bug(event: str, error: Exception, **facts: object) -> None:
    """An error that is not of ours, with its traceback."""
    _logger().error(event, exc_info=error, **facts)


def known_error(event: str, error: Exception, **facts: object) -> ReconcilerError:
    """The error, if it is ours; what the system refused, in our words; else a bug, which is logged."""
    known = refused(error) if isinstance(error, OSError) else error
    if isinstance(known, ReconcilerError):
        return known
    bug(event, error, **facts)
    return ReconcilerError(
        f"{type(error).__name__}: {error}", hint="this is a bug: please report it with the log", code="Bug"
    )


@contextlib.contextmanager
def best_effort(event: str, errors: list[HostRefused] | None = None) -> Iterator[None]:
    """What the system refuses in this block is logged (and added to `errors`), and the caller goes on: a full or a
    failing disk must not keep a pass from what it still can do."""
    try:
        yield
    except (HostRefused, OSError) as error:
        known = error if isinstance(error, HostRefused) else refused(error)
        if known is None:
            raise
        if errors is not None:
            errors.append(known)
        warning(event, code=known.code, message=str(known), hint=known.hint)


@lru_cache(maxsize=1)
def _logger() -> Any:
    import structlog  # here: it costs 0.2 s with what it loads, and an idle pass logs nothing

    if sys.stderr.isatty():
        rendering: list[Any] = [_shown_safely, structlog.dev.ConsoleRenderer()]
    else:  # a traceback says where, not what: local values may hold a secret
        form = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        rendering = [structlog.processors.ExceptionRenderer(form), structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            lambda _, __, facts: {**_bound.get(), **facts},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    return structlog.get_logger()


def _shown_safely(_: Any, __: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Words from manifests and servers must not move a terminal's cursor; JSON escapes them by itself."""
    return {k: for_terminal(v) if isinstance(v, str) else v for k, v in facts.items()}
