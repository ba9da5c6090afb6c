"""Data goes to stdout, talk to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reconciler.domain.errors import Problem
from reconciler.domain.escape import for_json
from reconciler.reports import render
from reconciler.reports.view import problem_view


def show(
    view: Mapping[str, Any], output: str, renderers: Mapping[str, Callable[[Mapping[str, Any]], str]]
) -> None:
    """Print a JSON view, in the format that was asked for."""
    sys.stdout.write(json_text(view) if output == "json" else renderers[output](view))


def json_text(view: Mapping[str, Any]) -> str:
    return for_json(json.dumps(view, indent=2, ensure_ascii=False)) + "\n"


def show_problems(problems: Iterable[Problem], level: str = "error") -> None:
    text = render.problems_text([problem_view(problem) for problem in problems], level)
    if text:
        sys.stderr.write(text + "\n")
