"""Frozen values: what `@dataclass(frozen=True, slots=True, kw_only=True)` gives, without its price at start-up.

`dataclasses` writes and compiles source text for every class: 0.9 to 1.3 ms each here, and 10 ms to import, which for
the fifty types of the planner is more than a whole `plan` may take (docs/decisions/0005). A `value` is made from
closures in 0.03 ms. Making an instance is slower (2 us for six fields), which a few thousand of them do not feel.

    @value
    class Cost:
        bytes: int = 0
        by_file: dict[str, int] = fresh(factory=dict)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")
    C = TypeVar("C", bound=type)
else:

    def dataclass_transform(**_: object) -> Callable[[C], C]:
        """Only type checkers read it, and `typing` costs 5 ms."""
        return lambda decorator: decorator


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
    methods = {"__init__": _init(cls.__name__, names, defaults), "__slots__": names, "__match_args__": names}
    return type(cls)(cls.__name__, cls.__bases__, {**_METHODS, **body, **methods})


def replace(one: T, **changes: object) -> T:
    """A copy with some fields changed."""
    return type(one)(**{name: getattr(one, name) for name in one.__slots__} | changes)  # type: ignore[attr-defined]


def as_dict(one: object) -> dict[str, Any]:
    """Fields by name; values inside, also in tuples, lists and dicts, become dicts too."""
    return {name: _plain(getattr(one, name)) for name in one.__slots__}  # type: ignore[attr-defined]


def field_names(cls: type) -> tuple[str, ...]:
    names: tuple[str, ...] = cls.__slots__  # type: ignore[attr-defined]
    return names


def _plain(held: Any) -> Any:
    if isinstance(held, dict):
        return {key: _plain(inner) for key, inner in held.items()}
    if isinstance(held, tuple | list):
        return type(held)(map(_plain, held))
    return as_dict(held) if hasattr(held, "__value__") else held


def _init(cls: str, names: tuple[str, ...], defaults: dict[str, Any]) -> Callable[..., None]:
    known = frozenset(names)

    def __init__(self: object, **given: object) -> None:
        if not given.keys() <= known:
            raise TypeError(f"{cls} has no {', '.join(sorted(given.keys() - known))}")
        for name in names:
            if name in given:
                held = given[name]
            elif name in defaults:
                held = defaults[name]
                held = held.make() if isinstance(held, _Fresh) else held
            else:
                raise TypeError(f"{cls} needs {name}")
            object.__setattr__(self, name, held)

    return __init__


def _fields(self: Any) -> tuple[object, ...]:
    return tuple(getattr(self, name) for name in self.__slots__)


def _equal(self: object, other: object) -> bool:
    return _fields(self) == _fields(other) if type(self) is type(other) else NotImplemented


def _hash(self: object) -> int:
    return hash(_fields(self))


def _show(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{type(self).__name__}({shown})"


def _refuse(self: object, name: str, *_: object) -> None:
    raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")


def _state(self: Any) -> dict[str, object]:
    return {name: getattr(self, name) for name in self.__slots__}


def _restore(self: object, state: dict[str, object]) -> None:
    for name, held in state.items():
        object.__setattr__(self, name, held)


_METHODS: dict[str, object] = {
    "__value__": True,
    "__eq__": _equal,
    "__hash__": _hash,
    "__repr__": _show,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__getstate__": _state,
    "__setstate__": _restore,
}
