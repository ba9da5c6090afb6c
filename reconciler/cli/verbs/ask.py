"""`reconciler ask NAME "prompt"`: one question to the served model, through the real runtime."""

from __future__ import annotations

import argparse
import sys
from tempfile import TemporaryDirectory

from reconciler.backends.select import backend_at
from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import json_text
from reconciler.domain.errors import PermanentError
from reconciler.domain.escape import for_terminal
from reconciler.domain.measured import Answer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="a variant (capitals-int4), an id (capitals-int4:2), or a model"
    )
    parser.add_argument("prompt", metavar="PROMPT", help="the question; - reads it from standard input")
    parser.add_argument("--system", metavar="TEXT", help="a system message before the question")
    parser.add_argument(
        "--max-tokens", type=options.positive, default=256, metavar="N", help="longest answer (default: 256)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=None,
        metavar="T",
        help="0 is greedy and repeats; default: the model's generation defaults",
    )
    options.add_machine(parser)
    options.add_output(parser, "text", "json")
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    backend = backend_at(options.cache_of(arguments))
    identity = find([entry.id for entry in backend.registrations()], arguments.name)
    messages = [("system", arguments.system)] if arguments.system else []
    messages.append(("user", sys.stdin.read() if arguments.prompt == "-" else arguments.prompt))
    with (
        TemporaryDirectory(prefix="reconciler-ask-") as scratch,
        backend.runtime(scratch=scratch, log=f"{scratch}/foundry.log") as runtime,
    ):
        answer = runtime.ask(
            identity,
            messages,
            arguments.max_tokens,
            temperature=arguments.temperature,
            on_text=_print_text if arguments.output == "text" else None,
        )
    _show(identity, answer, arguments)
    return OK


def find(ids: list[str], name: str) -> str:
    """The newest id of a variant; a model's name will do when it is served at one precision only."""
    if name in ids:
        return name
    matches = [
        one for one in ids if name in (one.rpartition(":")[0], one.rpartition(":")[0].rpartition("-")[0])
    ]
    variants = sorted({one.rpartition(":")[0] for one in matches})
    if name in variants:
        matches = [one for one in matches if one.rpartition(":")[0] == name]
    elif len(variants) > 1:
        raise PermanentError(f"{name} is served as {' and '.join(variants)}", hint="name one of them")
    if not matches:
        served = ", ".join(sorted({one.rpartition(":")[0] for one in ids})) or "nothing"
        raise PermanentError(f"{name} is not served here", hint=f"served: {served}", code="NotServed")
    return max(matches, key=lambda one: int(one.rpartition(":")[2]))


def _print_text(text: str) -> None:
    sys.stdout.write(for_terminal(text))
    sys.stdout.flush()


def _show(identity: str, answer: Answer, arguments: argparse.Namespace) -> None:
    if arguments.output == "json":
        from reconciler.reports.view import answer_view

        sys.stdout.write(json_text(answer_view(identity, answer)))
        return
    sys.stdout.write("\n")
    if not arguments.quiet:
        sys.stderr.write(
            f"{identity}: loaded in {answer.load_seconds:.2f} s, first token after "
            f"{answer.first_token_seconds * 1000:.0f} ms, {answer.tokens_per_second:.0f} tokens/s, "
            f"{answer.prompt_tokens} + {answer.completion_tokens} tokens ({answer.finish_reason})\n"
        )
