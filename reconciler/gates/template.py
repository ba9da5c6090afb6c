"""The template gate: the runtime renders the conversations of a template's fixtures as they say.

The runtime does not give the rendered text away, but it counts its tokens: those are compared with the tokens of the
expected text. It is not declared under `spec.gates`; the fixtures stand beside the template.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from reconciler.domain.manifest import Fixture
from reconciler.domain.measured import Measured, Numbers
from reconciler.domain.verdict import Verdict, compared, inconclusive, shown_number
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate
from reconciler.host.reading import read_whole


@dataclass(frozen=True, kw_only=True)
class TemplateGate(RuntimeGate):
    """`fixtures` are those that the runtime can be asked for."""

    name: ClassVar[str] = "template"
    way_out: ClassVar[str] = "mend the template or its fixtures"

    fixtures: tuple[Fixture, ...]

    @property
    def asked(self) -> object:
        return [one.key for one in self.fixtures]

    def missing(self, numbers: Numbers) -> bool:
        return bool(self._unrendered(numbers.measured))

    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        return {"rendered": {**held.rendered, **_counted(candidate, self._unrendered(held))}}

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        rendered = numbers.measured.rendered if numbers.measured else {}
        for number, fixture in enumerate(self.fixtures, 1):
            yield self._judge(f"fixture {number}", *rendered.get(fixture.key, (-1, -1)))

    def shown_fields(self, precisions: object) -> Iterator[tuple[str, object]]:
        """None under `spec.gates`."""
        return iter(())

    def _unrendered(self, measured: Measured | None) -> list[Fixture]:
        known = measured.rendered if measured else {}
        return [one for one in self.fixtures if one.key not in known]

    def _judge(self, measure: str, found: int, expected: int) -> Verdict:
        if found < 0:
            return inconclusive(self.name, measure)
        if expected < 0:
            return inconclusive(self.name, measure, "the tokens of the expected text are not known exactly")
        tokens = shown_number(expected), shown_number(found)
        message = f"{measure} has {tokens[0]} tokens, and the runtime renders {tokens[1]}"
        return compared(self.name, measure, float(found), float(expected), message, good=found == expected)


def _counted(candidate: RegisteredCandidate, fixtures: list[Fixture]) -> dict[str, tuple[int, int]]:
    """By fixture: tokens of what the runtime renders, and of the expected text (-1 where only an estimate is known)."""
    # Here, because it starts a process: judging must not load it.
    from reconciler.templates.renderer import LARGEST_TOKENIZER, Renderer

    tokenizer, counts = None, {}
    with contextlib.suppress(OSError):
        tokenizer = read_whole(os.path.join(candidate.folder, "tokenizer.json"), LARGEST_TOKENIZER)
    with Renderer(tokenizers=True) as renderer:
        for one in fixtures:
            expected = renderer.count(one.rendered, tokenizer)
            rendered = candidate.runtime.count(candidate.name, one.messages)
            counts[one.key] = rendered, -1 if expected is None else expected
    return counts
