"""Make the imports of the converter cheaper, without changing what is imported.

Importing Olive, torch and transformers is 95 % of a small conversion. Two things in it are waste (measured in CPU
seconds, of 6.1 on a quiet machine):

- 0.9 s: the garbage collector walks a growing heap again and again, and finds nothing, since modules do not die. It
  rests during the import; what was imported is then set aside for good (`gc.freeze`), which also keeps forked jobs
  from copying its pages.
- 0.5 s: transformers reads the text of all its 2,300 model files twice, because the cache between the two readings
  holds 128 folders of 1,100. The cache is made large enough before the first one.

If any of it does not fit the installed versions, the plain import happens.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_READER = "transformers.utils.import_utils"
_FUNCTION = "create_import_structure_from_path"


@contextmanager
def cheaper_imports() -> Iterator[None]:
    """Around the first import of the heavy packages."""
    finder = _WidenCache()
    sys.meta_path.insert(0, finder)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        with suppress(ValueError):
            sys.meta_path.remove(finder)
    gc.collect()
    gc.freeze()


class _WidenCache:
    """Finds one module as Python would, and widens one cache in it once it has been executed."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == _READER else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_widen(module: ModuleType) -> None:
            execute(module)
            with suppress(AttributeError):
                plain = getattr(module, _FUNCTION).__wrapped__
                setattr(module, _FUNCTION, functools.lru_cache(maxsize=None)(plain))

        with suppress(AttributeError):  # a loader without room for attributes
            spec.loader.exec_module = execute_and_widen  # type: ignore[method-assign]
        return spec
