"""Try a candidate in the very runtime that will serve it, before anyone sees it.

It is registered in a private, throw-away catalog, loaded, and asked twice: as a user, and as a user with a
system message, so that the chat template is rendered for real. Loading proves little: a model can load and
fail at its second token, a template can be broken until the first chat. The one who rehearses keeps numbers
and gives no verdict on them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

from reconciler.domain.bars import Gates
from reconciler.domain.errors import PermanentError, ReconcilerError, RehearsalFailed
from reconciler.domain.measured import Answer, Measured, Measurements
from reconciler.gates.judgement import Needed
from reconciler.gates.measuring.endurance import endure
from reconciler.gates.measuring.fixtures import count_rendered
from reconciler.gates.measuring.golden import ask_golden
from reconciler.gates.measuring.runtime import Runtime
from reconciler.gates.measuring.speed import time_answers
from reconciler.host.clock import now

USER = (("user", "Hello! Who are you?"),)
SYSTEM_AND_USER = (("system", "Answer briefly."), *USER)

MAX_TOKENS = 8


class Rehearsal:
    """Rehearses one candidate after the other in one warm runtime. A context manager."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def start(self) -> None:
        """Begin to start the runtime; return at once."""
        self._runtime.start()

    def rehearse(self, folder: str, name: str) -> Measurements:
        """Raises RehearsalFailed, in the runtime's own words, when the candidate does not load or does not
        answer."""
        with self._registered(folder, name):
            return self._measure(folder, name)

    def prove(
        self, folder: str, name: str, gates: Gates, wanted: Needed, held: Measured
    ) -> Iterator[Measured]:
        """`held` with what is `wanted` added to it, part by part: what was measured before something failed is not
        lost. Raises RehearsalFailed as `rehearse` does."""
        with self._registered(folder, name):
            if wanted.load:
                yield (held := _timed(held, "load", load=self._measure(folder, name)))
            if wanted.fixtures:
                fixtures = [gates.fixtures[place] for place in wanted.fixtures]
                counts = count_rendered(self._runtime, folder, name, fixtures)
                yield (held := _timed(held, "template", rendered={**held.rendered, **counts}))
            if gates.prompts and wanted.questions:
                answers, refused = ask_golden(self._runtime, name, gates.prompts, wanted.questions)
                asked = {"answers": held.answers | answers, "refused": held.refused | refused}
                yield (held := _timed(held, "prompts", **asked))
            if gates.performance and wanted.lengths:
                speeds = time_answers(self._runtime, name, wanted.lengths)
                memory, _ = self._runtime.measure()
                found = {"speeds": (*held.speeds, *speeds), "speed_memory_bytes": memory}
                yield (held := _timed(held, "performance", **found))
            if gates.endurance and wanted.endurance:
                yield _timed(held, "endurance", endured=endure(self._runtime, name, gates.endurance))

    @contextmanager
    def _registered(self, folder: str, name: str) -> Iterator[None]:
        self._runtime.unregister(name)  # left by a pass that was killed
        try:
            self._runtime.register(folder, name, {})
            yield
        except PermanentError as error:
            raise RehearsalFailed(f"{name}: {error}", hint=error.hint, code=error.code) from error
        finally:
            self._forget(name)

    def _measure(self, folder: str, name: str) -> Measurements:
        answer = self._runtime.ask(name, USER, MAX_TOKENS, temperature=0.0)
        with_system = self._ask_with_system(folder, name)
        if not any(_decoded_twice(one) for one in (answer, with_system) if one is not None):
            raise RehearsalFailed("it loads, but answers with nothing", code="EmptyAnswer")
        peak_memory, versions = self._runtime.measure()
        return Measurements(
            load_seconds=answer.load_seconds,
            first_token_seconds=answer.first_token_seconds,
            tokens_per_second=answer.tokens_per_second,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            peak_memory_bytes=peak_memory,
            takes_system=with_system is not None,
            runtime=versions,
        )

    def _ask_with_system(self, folder: str, name: str) -> Answer | None:
        """None when the template says no on purpose, as those of Gemma and early Mistral models do."""
        try:
            return self._runtime.ask(name, SYSTEM_AND_USER, MAX_TOKENS, temperature=0.0)
        except PermanentError as error:
            if error.code == "TemplateRefused" and _template_may_refuse(folder):
                return None
            raise

    def _forget(self, name: str) -> None:
        try:
            self._runtime.unregister(name)
        except ReconcilerError:  # the catalog is thrown away anyway, and the first error is the one to report
            self._runtime.kill()

    def kill(self) -> None:
        self._runtime.kill()

    def close(self) -> None:
        self._runtime.close()

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _timed(held: Measured, gate: str, **found: Any) -> Measured:
    return replace(held, times={**held.times, gate: now()}, **found)


def _decoded_twice(answer: Answer) -> bool:
    """The token that ends an answer is computed too, but not counted."""
    return answer.completion_tokens + (answer.finish_reason == "stop") >= 2


def _template_may_refuse(folder: str) -> bool:
    with open(os.path.join(folder, "chat_template.jinja"), encoding="utf-8") as template:
        return "raise_exception" in template.read()
