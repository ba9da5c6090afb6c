"""A value behaves as a frozen, slotted, keyword-only dataclass does."""

import copy
import pickle
from dataclasses import dataclass, field, replace

import pytest

from reconciler.domain.plain_data import as_dict, field_names


@dataclass(frozen=True, kw_only=True)
class Point:
    """Two numbers."""

    x: int
    y: int = 0
    tags: tuple[str, ...] = ()
    notes: dict[str, object] = field(default_factory=dict)

    @property
    def sum(self) -> int:
        return self.x + self.y


@dataclass(frozen=True, kw_only=True)
class Pair:
    left: Point
    right: tuple[Point, ...] = ()


def test_equal_fields_make_equal_values() -> None:
    assert Point(x=1) == Point(x=1, y=0)
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != object()


def test_a_value_without_mutable_fields_can_be_a_key() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Key:
        name: str

    assert {Key(name="a"): 1}[Key(name="a")] == 1


@pytest.mark.parametrize("bad", [{}, {"x": 1, "z": 2}])
def test_missing_and_unknown_fields_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="Point"):
        Point(**bad)  # type: ignore[arg-type]


def test_positional_fields_are_refused() -> None:
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[call-arg]


def test_nothing_can_be_set_or_deleted() -> None:
    point = Point(x=1)
    for name in ("x", "new"):
        with pytest.raises(AttributeError):
            setattr(point, name, 2)
    with pytest.raises(AttributeError):
        del point.x


def test_fresh_defaults_are_not_shared() -> None:
    assert Point(x=1).notes is not Point(x=1).notes


def test_replace_and_as_dict() -> None:
    pair = Pair(left=Point(x=1), right=(replace(Point(x=1), y=5),))
    assert as_dict(pair) == {
        "left": {"x": 1, "y": 0, "tags": (), "notes": {}},
        "right": ({"x": 1, "y": 5, "tags": (), "notes": {}},),
    }
    assert field_names(Pair) == ("left", "right")


def test_it_shows_itself_and_keeps_its_methods_and_story() -> None:
    assert repr(Point(x=1)) == "Point(x=1, y=0, tags=(), notes={})"
    assert Point(x=1, y=2).sum == 3
    assert Point.__doc__ == "Two numbers."


def test_copies_and_pickles_are_equal() -> None:
    point = Point(x=1, tags=("a",))
    assert copy.copy(point) == copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point
