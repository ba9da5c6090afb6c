"""The log, through structlog: constant event names plus key/values, JSON when stderr is no terminal.

A command logs warnings and errors only, because its reporter shows every step; `--verbose` and the daemon log all.
"""

import contextlib
import sys
from collections.abc import Iterator, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from reconciler.domain.text.escape import for_terminal

_talkative = False
_bound: ContextVar[dict[str, object]] = ContextVar("bound", default={})  # noqa: B039 - replaced, never changed
_unsaid: frozenset[str] = frozenset()


def talk(*, without: frozenset[str] = frozenset()) -> None:
    """Log every pass, not only what is wrong; `without` events that the caller tells in other words."""
    global _talkative, _unsaid
    _talkative, _unsaid = True, without


def info(event: str, **facts: object) -> None:
    if _talkative and event not in _unsaid:
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
    """Something we did not think of, with its traceback."""
    _logger().error(event, exc_info=error, **facts)


@lru_cache(maxsize=1)
def _logger() -> Any:
    import structlog  # here: it costs 0.2 s with what it loads, and an idle pass logs nothing

    readable = sys.stderr.isatty()
    rendering: list[Any] = (
        [_shown_safely, structlog.dev.ConsoleRenderer()]
        if readable
        else [_traceback_without_values(structlog), structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            _with_bound,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    return structlog.get_logger()


def _with_bound(_: Any, __: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**_bound.get(), **facts}


def _shown_safely(_: Any, __: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Words from manifests and servers must not move a terminal's cursor; JSON escapes them by itself."""
    return {k: for_terminal(v) if isinstance(v, str) else v for k, v in facts.items()}


def _traceback_without_values(structlog: Any) -> Any:
    """Where, not what: local values may be anything, also a secret."""
    form = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return structlog.processors.ExceptionRenderer(form)
