"""Make the imports of the converter cheaper, without changing what it computes.

Importing Olive, torch and transformers is most of a small conversion. Five things in it are waste; what each costs is
told in CPU seconds of a quiet machine, of 6.1 together:

- 0.9 s: the garbage collector walks a growing heap again and again, and finds nothing, since modules do not die. It
  rests during the import; what was imported is then set aside for good, which also keeps forked jobs from copying it.
- 0.5 s: transformers reads the text of its 2,300 model files twice, because the cache between the two readings holds
  128 folders of 1,100. The cache is widened.
- 0.3 s: at each reading it splits every file into lines to find `__all__`, which is near the end. It gets the end only.
- 0.3 s: torch names the source line of 270 operators by reading source files. It gets the number without the text.
- 0.7 s: transformers imports torch's compiler for one decorator and one class that act only while compiling, which a
  conversion never does. Both wait until they are used (accelerate does the same with the decorator).

Everything is put back after the import. Where anything does not fit the installed versions, `tools` imports plainly.
"""

from __future__ import annotations

import functools
import gc
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_READER = "transformers.utils.import_utils"
_COMPILER_PART = "torch._dynamo._trace_wrapped_higher_order_op"


@contextmanager
def cheaper_imports() -> Iterator[None]:
    """Around the first import of the heavy packages."""
    with _collector_at_rest(), _sources_unread(), _models_read_once(), _compiler_put_off():
        yield


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
def _models_read_once() -> Iterator[None]:
    finder = _ReaderFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _ReaderFinder:
    """Finds one module as Python would, and improves it once it has been executed."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == _READER else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_improve(module: ModuleType) -> None:
            execute(module)
            improve_reader(module)

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


@contextmanager
def _compiler_put_off() -> Iterator[None]:
    later = _Later(_COMPILER_PART)
    sys.modules[_COMPILER_PART] = later
    compiler = importlib.import_module("torch").compiler
    usual = compiler.disable
    compiler.disable = _plain
    try:
        yield
    finally:
        compiler.disable = usual
        if sys.modules.get(_COMPILER_PART) is later:
            del sys.modules[_COMPILER_PART]


def _plain(function: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """A decorator that only tells the compiler what to leave alone."""
    return (lambda decorated: decorated) if function is None else function


class _Later(ModuleType):
    """Stands in for a module. The one class that is wanted of it imports the real one when it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._maker(name) if name == "TransformGetItemToIndex" else getattr(self._real(), name)

    def _maker(self, name: str) -> Callable[[], Any]:
        return lambda: getattr(self._real(), name)()

    def _real(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return importlib.import_module(self.__name__)
