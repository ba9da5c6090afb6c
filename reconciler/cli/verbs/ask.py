"""Ask a served model one question through the program that serves it. A model for embeddings gives the embedding of the
text, as JSON; one that hears writes down what is said in a recording (--audio).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

from reconciler.backends.protocol import Backend
from reconciler.backends.select import backend_at
from reconciler.cli import configuration, options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import json_text, note
from reconciler.domain.errors import PermanentError, ReconcilerError, UsageError
from reconciler.domain.measured import Answer
from reconciler.domain.observed import TASK, Registration
from reconciler.domain.targets.tasks import EMBEDDINGS, SPEECH
from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.names import model_of
from reconciler.domain.text.quoting import known_hint
from reconciler.gates.recording import refused_recording, unheard
from reconciler.gates.speech import ENGLISH, LANGUAGES
from reconciler.reports.view import FORMAT_VERSION, camel_view

LARGEST_RECORDING = 64 << 20  # bytes
_A_RECORDING = "ffmpeg -i RECORDING -ar 16000 -ac 1 -c:a pcm_s16le NEW.wav makes a file that every model hears"


class _Recording(argparse.Action):
    """In place of the question. With `nargs="?"` a question after an option would not be taken."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, _: Any = None
    ) -> None:
        namespace.audio = value
        for action in parser._actions:
            action.required = action.required and action.dest != "prompt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a variant (capitals-int4), an id (capitals-int4:2), or a model")
    prompt = "the question; - reads it from standard input; none with --audio"
    parser.add_argument("prompt", metavar="PROMPT", help=prompt)
    recording = "a recording, such as a WAV file of 16 kHz, for a model that hears"
    parser.add_argument("--audio", metavar="FILE", action=_Recording, help=recording)
    parser.add_argument("--language", metavar="CODE", help="what is spoken in it, for a model that hears (default: en)")
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
    if found.properties.get(TASK) == SPEECH:
        return _hear(backend, identity, arguments)
    _require_question(identity, arguments)
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


def _require_question(identity: str, arguments: argparse.Namespace) -> None:
    if arguments.audio is not None or arguments.language is not None:
        raise UsageError(f"{identity} does not hear: it reads a text", hint="give a PROMPT in the place of --audio")


def _hear(backend: Backend, identity: str, arguments: argparse.Namespace) -> int:
    """What is said, on standard output."""
    if arguments.audio is None or (arguments.prompt, arguments.system, arguments.temperature) != (None, None, None):
        hint = f"reconciler ask {identity} --audio FILE"
        raise UsageError(f"{identity} hears: it takes a recording, and no question", hint=hint)
    language = arguments.language or ENGLISH
    if language not in LANGUAGES:
        raise UsageError(f"--language: expected a code such as en or sl, got {language}")
    audio = read_recording(arguments.audio)
    if why := unheard(audio):
        note(arguments, f"{arguments.audio}: {why}")
    with (
        TemporaryDirectory(prefix="reconciler-ask-") as scratch,
        backend.runtime(scratch=scratch, log=f"{scratch}/runtime.log") as runtime,
    ):
        try:
            found = runtime.transcribe(identity, audio, language)
        except ReconcilerError as error:
            raise (not_heard(arguments.audio, audio) if error.code == "RecordingRefused" else error) from error
    if arguments.output == "json":
        sys.stdout.write(json_text({"formatVersion": FORMAT_VERSION, "id": identity, **camel_view(found)}))
        return OK
    _print_text(found.text.strip() + "\n")
    note(arguments, f"{identity}: loaded in {found.load_seconds:.2f} s, heard in {found.seconds * 1000:.0f} ms")
    return OK


def read_recording(path: str) -> bytes:
    """Raises UsageError for what is no file of a size that Foundry Local takes."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_RECORDING + 1)
    except OSError as error:
        hint = "--audio takes one file, by its path from this folder"
        raise UsageError(f"--audio {path}: {error.strerror}", hint=hint) from None
    if not data:
        raise UsageError(f"--audio {path}: expected a recording, got an empty file", hint=_A_RECORDING)
    if len(data) > LARGEST_RECORDING:
        found = f"expected at most {LARGEST_RECORDING >> 20} MiB, got more"
        raise UsageError(f"--audio {path}: {found}", hint="cut it into pieces: a model hears half a minute of each")
    return data


def not_heard(path: str, audio: bytes) -> UsageError:
    """Why the runtime reads no sound in it, as far as its head says that."""
    why = refused_recording(audio) or "a recording that the runtime can read, got something else"
    return UsageError(f"--audio {path}: expected {why}", hint=_A_RECORDING)


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
        hint = known_hint("served", name, {one.name for one in registrations})
        raise PermanentError(f"{name} is not served here", hint=hint, code="NotServed")
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
    if not answer.text.strip():
        note(arguments, f"{identity}: the answer is empty; a template that the model was not trained with is often why")
    note(
        arguments,
        f"{identity}: loaded in {answer.load_seconds:.2f} s, first token after "
        f"{answer.first_token_seconds * 1000:.0f} ms, {answer.tokens_per_second:.0f} tokens/s, "
        f"{answer.prompt_tokens} + {answer.completion_tokens} tokens ({answer.finish_reason})",
    )
