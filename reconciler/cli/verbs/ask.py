"""Ask a served model one question through the program that serves it."""

import argparse
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from reconciler.backends.select import backend_at
from reconciler.cli import configuration, options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import json_text, note
from reconciler.domain.errors import PermanentError
from reconciler.domain.measured import Answer
from reconciler.domain.observed import Registration
from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.names import model_of
from reconciler.reports.view import FORMAT_VERSION, camel_view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a variant (capitals-int4), an id (capitals-int4:2), or a model")
    parser.add_argument("prompt", metavar="PROMPT", help="the question; - reads it from standard input")
    parser.add_argument("--system", metavar="TEXT", help="a system message before the question")
    parser.add_argument(
        "--max-tokens", type=options.positive, default=256, metavar="N", help="longest answer (default: 256)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="0 is greedy and repeatable (default: the model's generation defaults)",
    )
    options.add_common(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    backend = backend_at(options.cache_of(arguments), configuration.traits().backends)
    identity = _find(backend.registrations(), arguments.name)
    messages = [("system", arguments.system)] if arguments.system else []
    messages.append(("user", sys.stdin.read() if arguments.prompt == "-" else arguments.prompt))
    with (
        TemporaryDirectory(prefix="reconciler-ask-") as scratch,
        backend.runtime(scratch=scratch, log=f"{scratch}/runtime.log") as runtime,
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


def _find(registrations: Sequence[Registration], name: str) -> str:
    """The newest id of a variant. A model's name is enough when one precision of it is served."""
    found = [one for one in registrations if name in (one.id, one.name)]
    found = found or [one for one in registrations if name == model_of(one.name)]
    variants = sorted({one.name for one in found})
    if not found:
        served = ", ".join(sorted({one.name for one in registrations})) or "nothing"
        raise PermanentError(f"{name} is not served here", hint=f"served: {served}", code="NotServed")
    if len(variants) > 1:
        raise PermanentError(f"{name} is served as {' and '.join(variants)}", hint="name one of them")
    return max(found, key=lambda one: one.number).id


def _print_text(text: str) -> None:
    sys.stdout.write(for_terminal(text))
    sys.stdout.flush()


def _show(identity: str, answer: Answer, arguments: argparse.Namespace) -> None:
    if arguments.output == "json":
        sys.stdout.write(json_text({"formatVersion": FORMAT_VERSION, "id": identity, **camel_view(answer)}))
        return
    sys.stdout.write("\n")
    note(
        arguments,
        f"{identity}: loaded in {answer.load_seconds:.2f} s, first token after "
        f"{answer.first_token_seconds * 1000:.0f} ms, {answer.tokens_per_second:.0f} tokens/s, "
        f"{answer.prompt_tokens} + {answer.completion_tokens} tokens ({answer.finish_reason})",
    )
