"""Two runtimes on one machine as one: what one of them lacks is damage, and is given to it alone."""

from pathlib import Path
from typing import Any

import pytest

from reconciler.backends.together import RuntimesTogether, ServedTogether, merged
from reconciler.domain.errors import PermanentError
from reconciler.domain.observed import Registration, own_properties
from tests.backends.test_contract import ONE

OURS = own_properties(owner="me", release="sha256:0")
A, B = "foundry-local", ONE
REG = Registration(id="x:1", path="/served/x/1", properties=OURS)


def one(**changes: Any) -> Registration:
    return Registration(**{"id": "x:1", "path": "/served/x/1", "properties": OURS} | changes)


MERGED: dict[str, tuple[list[Registration], list[Registration], tuple[str, ...], tuple[str, ...]]] = {
    "both have it": ([REG], [REG], (), (A, B)),
    "the second lacks it": ([REG], [], (f"not registered in {B}",), (A,)),
    "the first lacks it": ([], [REG], (f"not registered in {A}",), (B,)),
    "one is damaged": ([REG], [one(damage=("a changed",))], (f"a changed ({B})",), (A,)),
    "one points elsewhere": ([REG], [one(path="/other")], (f"registered otherwise in {B}",), (A,)),
    "one is of another release": (
        [REG],
        [one(properties=own_properties(owner="me", release="sha256:1"))],
        (f"registered otherwise in {B}",),
        (A,),
    ),
    "in one it is another's": ([one(properties={})], [REG], (f"the name is another program's in {A}",), (B,)),
}


@pytest.mark.parametrize("name", MERGED)
def test_a_name_counts_once_and_what_is_wrong_with_it_is_told_by_runtime(name: str) -> None:
    first, second, damage, runtimes = MERGED[name]
    (found,) = merged({A: first, B: second})
    assert (found.id, found.owner, found.damage, found.runtimes) == ("x:1", "me", damage, runtimes)


def test_what_is_anothers_in_each_is_no_damage() -> None:
    assert merged({A: [one(properties={})], B: [one(id="y:2", properties={})]}) == (
        one(properties={}),
        one(id="y:2", properties={}),
    )


class Fake:
    """A catalog in memory that says what was done to it."""

    start = memory = unload = count = compare_tokenizer = decode = providers = None  # not called here

    def __init__(self, *held: Registration) -> None:
        self.held, self.done = {one.id: one for one in held}, list[str]()

    def registrations(self) -> list[Registration]:
        return [*self.held.values()]

    def register(self, path: str, identity: str, properties: dict[str, str]) -> None:
        self.done.append(f"register {identity}")
        if identity in self.held and not self.held[identity].damage:
            raise PermanentError("taken", code="AlreadyRegistered")
        self.held[identity] = Registration(id=identity, path=path, properties=properties)

    def unregister(self, identity: str) -> None:
        self.done.append(f"unregister {identity}")
        self.held.pop(identity, None)


def together(first: Fake, second: Fake) -> RuntimesTogether:
    runtimes: Any = {A: first, B: second}
    return RuntimesTogether(runtimes, {A: first.registrations, B: second.registrations}, probes=False)


def test_only_the_one_that_lacks_it_is_touched() -> None:
    for first, second in ((Fake(REG), Fake()), (Fake(REG), Fake(one(damage=("x",)))), (Fake(), Fake(REG))):
        lacking = first if not first.held else second
        together(first, second).register(REG.path, REG.id, OURS)
        assert lacking.done == ["register x:1"]
        assert (first.done + second.done) == ["register x:1"]
        assert merged({A: first.registrations(), B: second.registrations()})[0].damage == ()


def test_a_name_that_is_taken_in_one_is_refused_and_stays_there() -> None:
    foreign = one(properties={})
    first, second = Fake(), Fake(foreign)
    with pytest.raises(PermanentError):
        together(first, second).register(REG.path, REG.id, OURS)
    together(first, second).unregister(REG.id)
    assert second.held == {"x:1": foreign}
    assert first.held == {}
    whole = together(Fake(REG), Fake(REG))
    with pytest.raises(PermanentError):
        whole.register(REG.path, REG.id, OURS)


def test_a_rehearsal_takes_place_once_in_each_kind_that_is_here(tmp_path: Path) -> None:
    from reconciler.backends.select import backend_at
    from reconciler.domain.machine.backends import BackendSettings

    other = BackendSettings(name=ONE, catalog=str(tmp_path / "1"))
    kinds = {
        "": backend_at(str(tmp_path), (BackendSettings(), other)).rehearsal_at(str(tmp_path / "r")),
        "sdk": backend_at(
            str(tmp_path), (BackendSettings(), BackendSettings(name=ONE, catalog=str(tmp_path / "1"), sdk="/sdk"))
        ).rehearsal_at(str(tmp_path / "r")),
    }
    assert kinds[""].name == A
    both = kinds["sdk"]
    assert isinstance(both, ServedTogether)
    assert [one.name for one in both.backends] == [A, B]
    assert len({one.catalog for one in both.backends}) == 2
