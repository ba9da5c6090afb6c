"""Gate: one test of a release before it is served; GateSpec: all that one model declares.

A gate is a frozen dataclass of its bars in `gates/<name>.py`, which also measures and judges; `gates.judgement`
lists them. No bar is part of a release: changing one judges the stored measurements again, and measures nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

from reconciler.domain.accepts import described_fields
from reconciler.domain.measured import Numbers
from reconciler.domain.plain_data import as_dict
from reconciler.domain.targets.tasks import CHAT
from reconciler.domain.text.names import camel
from reconciler.domain.text.units import duration_text, memory_text
from reconciler.domain.verdict import Verdict

TEXT_OF_UNIT: dict[str, Callable[[Any], str]] = {"size": memory_text, "duration": duration_text}


@dataclass(frozen=True, kw_only=True)
class Gate(ABC):
    """`name` is its field in a manifest. A gate that is there `always` need not be declared. One that is `slow` is
    measured beside the passes, because it may take longer than a pass should."""

    name: ClassVar[str]
    about: ClassVar[str] = ""  # for the documentation; "" where it is not declared under `spec.gates`
    always: ClassVar[bool] = False
    slow: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = (CHAT,)  # of the models that it can judge
    way_out: ClassVar[str] = "relax the bar (nothing is measured again for that), or change the model"

    @property
    def asked(self) -> object:
        """What is to be measured, bars apart: by this a measurement that failed is known again."""
        return None

    @property
    def as_judged(self) -> Self:
        """Without the bytes that only a measurement needs: whoever judges remembers gates for a long time."""
        return self

    @property
    def contradiction(self) -> str:
        """What was expected instead, where two fields exclude each other; else ""."""
        return ""

    @abstractmethod
    def missing(self, numbers: Numbers) -> bool:
        """Is there anything to measure before it can be judged?"""

    @abstractmethod
    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        """One verdict for each bar."""

    def shown_fields(self, precisions: Sequence[str]) -> Iterator[tuple[str, object]]:
        """Each field as a manifest writes it, for a comparison; those with a default too."""
        accepted = described_fields(type(self))
        for name, held in as_dict(self).items():
            _, _, accepts = accepted[name]
            if held is not None and held != "":
                unit = accepts.unit if accepts else ""
                yield camel(name), TEXT_OF_UNIT[unit](held) if unit else held


G = TypeVar("G", bound=Gate)


@dataclass(frozen=True, kw_only=True)
class GateSpec:
    """What is declared, by name, of a model for this `task`. Gates that are there always and as usual are left out, so
    equal specs are equal."""

    gates: tuple[Gate, ...] = ()
    task: str = CHAT

    @classmethod
    def of(cls, *gates: Gate, task: str = CHAT) -> "GateSpec":
        special = [one for one in gates if not one.always or one != type(one)()]
        return cls(gates=tuple(sorted(special, key=lambda one: one.name)), task=task)

    def get(self, kind: type[G]) -> G | None:
        """The gate of that kind, if it is declared or always there; none that cannot judge models for this task."""
        if self.task not in kind.tasks:
            return None
        found = next((one for one in self.gates if isinstance(one, kind)), None)
        return kind() if found is None and kind.always else found

    def with_gate(self, gate: Gate) -> "GateSpec":
        return GateSpec.of(*(one for one in self.gates if one.name != gate.name), gate, task=self.task)

    @cached_property
    def as_judged(self) -> "GateSpec":
        """An equal one, of gates as they are judged; itself where they are so."""
        gates = tuple(one.as_judged for one in self.gates)
        same = all(one is other for one, other in zip(gates, self.gates, strict=True))
        return self if same else replace(self, gates=gates)

    @cached_property
    def asked(self) -> dict[str, object]:
        """What is to be measured, by gate."""
        return {one.name: one.asked for one in self.gates if one.asked is not None}
