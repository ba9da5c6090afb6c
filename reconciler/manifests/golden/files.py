"""Golden prompts and recordings that lie in files beside the manifests. A parse reads each file once: the models that
name it share what is in it, and all of them together are bounded, because they are kept as long as the models are.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from reconciler.domain import digest
from reconciler.domain.errors import BUG, BUG_HINT, InputRefused, Problem, unless_we_fail
from reconciler.gates.prompts import CHECKS, GoldenPrompt
from reconciler.gates.recording import Recording, refused_recording
from reconciler.manifests.declaration import Declaration, ProblemLog
from reconciler.manifests.gate_schema import MOST_CASES, GoldenCase
from reconciler.manifests.loader import Path, YamlDocument
from reconciler.manifests.manifest_text import MANIFEST_BYTES
from reconciler.manifests.problems import MAX_PROBLEMS, accepted
from reconciler.manifests.schema import ModelManifest

MOST_BYTES = 64 << 20  # of all golden files of one parse

_FILE_HINT = f"it may have 256 KiB, as every file beside manifests, and {MOST_CASES} golden prompts"
_RECORDING_HINT = "it may have 256 KiB, as every file beside manifests: 8 s of 16 kHz, one channel of 16 bits"
_CONVERT_HINT = "ffmpeg -i RECORDING -ac 1 -ar 16000 -c:a pcm_s16le FILE.wav"
_SHARE_HINT = "a file that several models name counts once"

Golden = TypeVar("Golden")


# What is in a file; or why every field that names it is refused; or None where what is wrong was reported of the file.
Reader = Callable[[bytes, str, ProblemLog], Golden | InputRefused | None]


class GoldenFiles:
    """Those of one parse."""

    def __init__(self) -> None:
        self._bytes = 0
        self._found: dict[tuple[Reader[Any], str], Any] = {}  # by reader and place

    def prompts(self, declaration: Declaration[ModelManifest], path: Path) -> tuple[GoldenPrompt, ...] | None:
        """Of the file that the field names. None where something is wrong with it, which is then reported."""
        return self._once(golden_prompts, _FILE_HINT, declaration, path)

    def recording(self, declaration: Declaration[ModelManifest], path: Path) -> Recording | None:
        """The same of a recording."""
        return self._once(_recording, _RECORDING_HINT, declaration, path)

    def _once(
        self, read: Reader[Golden], hint: str, declaration: Declaration[ModelManifest], path: Path
    ) -> Golden | None:
        if (place := declaration.located(path, "file")) is None:
            return None
        if (read, place) not in self._found:
            if self._bytes > MOST_BYTES - MANIFEST_BYTES:  # guard: golden files are bounded together
                message = (
                    f"expected at most {MOST_BYTES >> 20} MiB of golden prompts and recordings in files, all together"
                )
                declaration.report(path, "GoldenFilesTooLarge", message, _SHARE_HINT)
                return None
            if (file := declaration.read(path, hint)) is None:
                return None
            self._found[read, place] = unless_we_fail(partial(read, *file, declaration.log), _unread)
            self._bytes += len(file[0])
        found: Golden | InputRefused | None = self._found[read, place]
        if isinstance(found, InputRefused):
            declaration.report(path, found.code, str(found), found.hint)
            return None
        return found


def _unread(message: str) -> InputRefused:
    """A file in which we failed."""
    return InputRefused(BUG, message, BUG_HINT)


def golden_prompt(case: GoldenCase) -> GoldenPrompt:
    asked = [("user", case.prompt or "")]
    if case.messages is not None:
        asked = [(message.role, message.content) for message in case.messages]
    if case.json_schema is not None:
        schema = digest.canonical(case.json_schema).decode()
        return GoldenPrompt(messages=tuple(asked), check="jsonSchema", expected=schema)
    check = next(name for name in CHECKS if getattr(case, name, None) is not None)
    return GoldenPrompt(messages=tuple(asked), check=check, expected=getattr(case, check))


def golden_prompts(data: bytes, file: str, log: ProblemLog) -> tuple[GoldenPrompt, ...] | None:
    """One a line, as JSON. What is wrong with them is reported of the file, once."""
    cases: list[GoldenPrompt] = []
    before = len(log.problems)
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip() and len(log.problems) - before < MAX_PROBLEMS and (case := _case(line, number, file, log)):
            cases.append(golden_prompt(case))
    if not 1 <= len(cases) <= MOST_CASES and len(log.problems) == before:
        message = f"expected 1 to {MOST_CASES} golden prompts, one a line, got {len(cases)}"
        log.add(Problem(code="GoldenPrompts", file=file, message=message))
    return tuple(cases) if len(log.problems) == before else None


def _case(line: bytes, number: int, file: str, log: ProblemLog) -> GoldenCase | None:
    try:
        data = json.loads(line)
        digest.canonical(data)  # refuses NaN, endless numbers and half surrogate pairs: no record could hold them
    except (ValueError, RecursionError):
        message = "expected one JSON object a line, got something else"
        log.add(Problem(code="GoldenPrompts", file=file, line=number, message=message))
        return None
    document = YamlDocument(data=data, lines={(): number}, first_line=number, last_line=number, problems=())
    case = accepted(document, file, GoldenCase)
    if isinstance(case, GoldenCase):
        return case
    for problem in case:
        log.add(problem)
    return None


def _recording(data: bytes, _: str, log: ProblemLog) -> Recording | InputRefused:
    why = refused_recording(data)
    return InputRefused("RecordingRefused", f"expected {why}", _CONVERT_HINT) if why else Recording.of(data)
