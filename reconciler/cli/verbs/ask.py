"""Ask a served model one question through the program that serves it. A model for embeddings gives the embedding of the
text, as JSON.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from reconciler.backends.protocol import Backend
from reconciler.backends.select import backend_at
from reconciler.cli import configuration, options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import json_text, note
from reconciler.domain.errors import PermanentError, UsageError
from reconciler.domain.measured import Answer
from reconciler.domain.observed import TASK, Registration
from reconciler.domain.targets import EMBEDDINGS
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
    found = _find(backend.registrations(), arguments.name)
    identity = found.id
    if found.properties.get(TASK) == EMBEDDINGS:
        return _embed(backend, identity, arguments)
    messages = [("system", arguments.system)] if arguments.system else []
    messages.append(("user", _asked(arguments)))
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


def _embed(backend: Backend, identity: str, arguments: argparse.Namespace) -> int:
    """Its numbers on one line of standard output, as JSON."""
    if arguments.system is not None or arguments.temperature is not None:
        hint = "delete --system and --temperature"
        raise UsageError(f"{identity} embeds a text: it has no conversation and draws no tokens", hint=hint)
    with (
        TemporaryDirectory(prefix="reconciler-ask-") as scratch,
        backend.runtime(scratch=scratch, log=f"{scratch}/runtime.log") as runtime,
    ):
        found = runtime.embed(identity, (_asked(arguments),))
    (vector,) = found.vectors
    if arguments.output == "json":
        times = {"loadSeconds": found.load_seconds, "seconds": found.seconds}
        view = {"formatVersion": FORMAT_VERSION, "id": identity, "dimensions": len(vector), "embedding": [*vector]}
        sys.stdout.write(json_text(view | times))
        return OK
    sys.stdout.write(json.dumps(vector) + "\n")
    took = f"loaded in {found.load_seconds:.2f} s, embedded in {found.seconds * 1000:.0f} ms"
    note(arguments, f"{identity}: {took}, {len(vector)} dimensions")
    return OK


def _asked(arguments: argparse.Namespace) -> str:
    return sys.stdin.read() if arguments.prompt == "-" else str(arguments.prompt)


def _find(registrations: Sequence[Registration], name: str) -> Registration:
    """The newest one of a variant. A model's name is enough when one precision of it is served."""
    found = [one for one in registrations if name in (one.id, one.name)]
    found = found or [one for one in registrations if name == model_of(one.name)]
    variants = sorted({one.name for one in found})
    if not found:
        served = ", ".join(sorted({one.name for one in registrations})) or "nothing"
        raise PermanentError(f"{name} is not served here", hint=f"served: {served}", code="NotServed")
    if len(variants) > 1:
        raise PermanentError(f"{name} is served as {' and '.join(variants)}", hint="name one of them")
    return max(found, key=lambda one: one.number)


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
