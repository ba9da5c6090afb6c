"""Make the imports of the converter cheaper, without changing what it computes.

Importing Olive, torch and transformers is most of a small conversion. Six things in it are waste; what each costs is
told in CPU seconds of a quiet machine, of 6.6 together:

- 0.8 s: the garbage collector walks a growing heap again and again, and finds nothing, since modules do not die. It
  rests during the import; what was imported is then set aside for good, which also keeps forked jobs from copying it.
- 0.5 s: transformers reads the text of its 2,300 model files twice, because the cache between the two readings holds
  128 folders of 1,100. The cache is widened.
- 0.2 s: at each reading it splits every file into lines to find `__all__`, which is near the end. It gets the end only.
- 0.3 s: torch names the source line of 270 operators by reading source files. It gets the number without the text.
- 1.1 s: transformers and torch import torch's compiler for decorators and one class that act only while compiling,
  which a conversion never does. They wait until somebody compiles (accelerate does the same, for the same reason).
- 0.5 s: transformers and accelerate import what spreads a model over many machines. They are told that this torch was
  built without it, as some are; that stays so.

Where anything does not fit the installed versions, `tools` imports plainly.
"""

from __future__ import annotations

import functools
import gc
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_MARKS = ("disable", "allow_in_graph", "assume_constant_result")  # decorators that only the compiler reads


@contextmanager
def cheaper_imports() -> Iterator[None]:
    """Around the first import of the heavy packages."""
    with _collector_at_rest(), _sources_unread(), _modules_improved(), _compiler_put_off():
        importlib.import_module("torch").distributed.is_available = _is_not
        yield


def _is_not() -> bool:
    return False


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _sources_unread() -> Iterator[None]:
    usual = inspect.getframeinfo
    inspect.getframeinfo = lambda frame, context=0: usual(frame, 0)
    try:
        yield
    finally:
        inspect.getframeinfo = usual


@contextmanager
def _modules_improved() -> Iterator[None]:
    finder = _Improver()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Improver:
    """Finds some modules as Python would, and improves each once it has been executed."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        improve = _IMPROVED.get(name)
        spec = PathFinder.find_spec(name, path, target) if improve else None
        if improve is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_improve(module: ModuleType) -> None:
            execute(module)
            improve(module)

        spec.loader.exec_module = execute_and_improve  # type: ignore[method-assign]
        return spec


def improve_reader(module: Any) -> None:
    names_of = module.fetch__all__
    module.fetch__all__ = lambda text: names_of(from_last_all(text))
    folder_reader = module.create_import_structure_from_path
    module.create_import_structure_from_path = functools.lru_cache(maxsize=None)(folder_reader.__wrapped__)


def from_last_all(text: str) -> str:
    """The text from the last line that begins with `__all__`: the reader looks at nothing before it."""
    return text[text.rfind("\n__all__") + 1 :]


def improve_disabler(module: Any) -> None:
    """torch marks its own functions through this one, and imports the compiler when the first of them is called."""
    usual = module._disable_dynamo

    def disable_dynamo(function: Any = None, recursive: bool = True) -> Any:
        if function is None:
            return functools.partial(disable_dynamo, recursive=recursive)
        marked = usual(function, recursive)

        @functools.wraps(function)
        def call(*values: Any, **named: Any) -> Any:
            return (marked if "torch._dynamo" in sys.modules else function)(*values, **named)

        return call

    module._disable_dynamo = disable_dynamo


def improve_questions(module: Any) -> None:
    """accelerate asks of each model that is saved whether it was compiled, and imports the compiler to ask."""
    for name in ("is_compiled_module", "has_compiled_regions"):
        setattr(module, name, _false_without_compiler(getattr(module, name)))


def _false_without_compiler(usual: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda model: "torch._dynamo" in sys.modules and usual(model)


_IMPROVED = {
    "transformers.utils.import_utils": improve_reader,
    "torch._compile": improve_disabler,
    "accelerate.utils.other": improve_questions,
}


@contextmanager
def _compiler_put_off() -> Iterator[None]:
    wrapper = _Later("torch._dynamo._trace_wrapped_higher_order_op")
    sys.modules[wrapper.__name__] = wrapper  # found before its package is looked for
    torch = importlib.import_module("torch")
    usual = {name: getattr(torch.compiler, name) for name in _MARKS}
    vars(torch.compiler).update(dict.fromkeys(_MARKS, _leave_alone))
    marks = vars(torch)["_dynamo"] = _Later("torch._dynamo")
    try:
        yield
    finally:
        vars(torch.compiler).update(usual)
        if sys.modules.get(wrapper.__name__) is wrapper:
            del sys.modules[wrapper.__name__]
        if vars(torch).get("_dynamo") is marks:
            del torch._dynamo


def _leave_alone(function: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """A decorator that would only tell the compiler what to leave alone, or what to take as it is."""
    return _leave_alone if function is None else function


class _Later(ModuleType):
    """Stands in for a part of the compiler. What transformers wants of it does nothing, or imports the real one when it
    is used; whoever wants more gets the real one at once."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _MARKS:
            return _leave_alone
        return self._make_real if name == "TransformGetItemToIndex" else getattr(self._real(), name)

    def _make_real(self) -> Any:
        return self._real().TransformGetItemToIndex()

    def _real(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return importlib.import_module(self.__name__)
