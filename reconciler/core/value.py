"""Frozen values: what `@dataclass(frozen=True, slots=True, kw_only=True)` gives, without its price at start-up.

`dataclasses` writes and compiles source text for every class: 0.9 to 1.3 ms each here, and 10 ms to import, which for
the fifty types of the planner is more than a whole `plan` may take (docs/decisions/0005). A `value` is made from
closures in 0.03 ms. Making an instance is slower (2 us for six fields), which a few thousand of them do not feel.

    @value
    class Cost:
        bytes: int = 0
        by_file: dict[str, int] = fresh(factory=dict)

        @lazy
        def text(self) -> str: ...       # computed once per instance
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from functools import cached_property
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")
    C = TypeVar("C", bound=type)
    lazy = cached_property
else:

    def dataclass_transform(**_: object) -> Callable[[C], C]:
        """Only type checkers read it, and `typing` costs 5 ms."""
        return lambda decorator: decorator

    class lazy:
        """A property that is computed when it is first asked for. What it is computed from cannot change."""

        def __init__(self, compute: Callable[[Any], Any]) -> None:
            self._compute = compute
            self._name = compute.__name__
            self.__doc__ = compute.__doc__

        def __get__(self, one: Any, cls: type) -> Any:
            found = one.__memory__.get(self._name, lazy)
            if found is lazy:
                found = one.__memory__[self._name] = self._compute(one)
            return found


class _Fresh:
    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def fresh(*, factory: Callable[[], T]) -> T:
    """A default that is made anew for each instance."""
    return _Fresh(factory)  # type: ignore[return-value]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(fresh,))
def value(cls: C) -> C:
    """A class decorator. Fields are the annotated names, in order; all are given by keyword, none can be set later."""
    names = tuple(getattr(cls, "__annotations__", ()))
    body = {name: held for name, held in cls.__dict__.items() if name not in ("__dict__", "__weakref__")}
    defaults = {name: body.pop(name) for name in names if name in body}
    shape = {
        "__slots__": (*names, "__memory__"),
        "__fields__": names,
        "__match_args__": names,
        "__content__": staticmethod(attrgetter(*names) if names else tuple),
    }
    made = type(cls)(cls.__name__, cls.__bases__, {**_METHODS, **body, **shape})
    type.__setattr__(made, "__init__", _init(made, names, defaults))
    return made


def replace(one: T, **changes: object) -> T:
    """A copy with some fields changed."""
    return type(one)(**{name: getattr(one, name) for name in one.__fields__} | changes)  # type: ignore[attr-defined]


def as_dict(one: object) -> dict[str, Any]:
    """Fields by name; values inside, also in tuples, lists and dicts, become dicts too."""
    return {
        name: held if type(held := getattr(one, name)) in _PLAIN else _plain(held)
        for name in one.__fields__  # type: ignore[attr-defined]
    }


def field_names(cls: type) -> tuple[str, ...]:
    names: tuple[str, ...] = cls.__fields__  # type: ignore[attr-defined]
    return names


_PLAIN = frozenset((str, int, float, bool, type(None)))


def _plain(held: Any) -> Any:
    kind = type(held)
    if kind in _PLAIN:
        return held
    if kind is dict:
        return {key: _plain(inner) for key, inner in held.items()}
    if kind is tuple or kind is list:
        return kind(map(_plain, held))
    return as_dict(held) if hasattr(kind, "__fields__") else held


def _init(cls: Any, names: tuple[str, ...], defaults: dict[str, Any]) -> Callable[..., None]:
    """Made for speed: a plan makes thousands, nearly always with every field given."""
    count = len(names)
    pairs = tuple((getattr(cls, name).__set__, name) for name in names)
    remembers = cls.__memory__.__set__

    def __init__(self: object, **given: object) -> None:
        if len(given) != count:
            given = _complete(defaults, given)
        try:
            for put, name in pairs:
                put(self, given[name])
        except KeyError:
            raise TypeError(_mismatch(cls.__name__, given, names)) from None
        if len(given) != count:
            raise TypeError(_mismatch(cls.__name__, given, names))
        remembers(self, {})

    return __init__


def _complete(defaults: dict[str, Any], given: dict[str, object]) -> dict[str, object]:
    whole = {**defaults, **given}
    for name, held in defaults.items():
        if type(held) is _Fresh and name not in given:
            whole[name] = held.make()
    return whole


def _mismatch(cls: str, given: dict[str, object], names: tuple[str, ...]) -> str:
    foreign = ", ".join(name for name in given if name not in names)
    missing = ", ".join(name for name in names if name not in given)
    return f"{cls} has no {foreign}" if foreign else f"{cls} needs {missing}"


def _equal(self: Any, other: Any) -> bool:
    if self is other:
        return True
    return self.__content__(self) == self.__content__(other) if type(self) is type(other) else NotImplemented


def _hash(self: Any) -> int:
    return hash(self.__content__(self))


def _show(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__fields__)
    return f"{type(self).__name__}({shown})"


def _refuse(self: object, name: str, *_: object) -> None:
    raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")


def _state(self: Any) -> dict[str, object]:
    return {name: getattr(self, name) for name in self.__fields__}


def _restore(self: Any, state: dict[str, object]) -> None:
    self.__init__(**state)


_METHODS: dict[str, object] = {
    "__eq__": _equal,
    "__hash__": _hash,
    "__repr__": _show,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__getstate__": _state,
    "__setstate__": _restore,
}
