"""ChildSource: what the sources have in common that are asked through a child process, because a foreign library speaks
to them. It starts at the first question and lives until the end; one that died starts anew at the next. It is ended
when it has been silent for too long. What came of a file is kept, so the next attempt goes on from there.
"""

import os
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from reconciler.domain.errors import Cancelled, ReconcilerError, TemporaryError
from reconciler.domain.text.escape import one_line
from reconciler.host.child import Child, ChildDied, ChildFailed, ChildTimedOut
from reconciler.host.places import install_command

ANSWER_SECONDS = 180.0
LONGEST = 24 * 3600.0  # seconds for a download


class ChildSource(ABC):
    """A context manager. `environment` is all that the child gets, `home` a folder for it alone, `log` a file. `cancel`
    comes from any thread."""

    worker: ClassVar[str]  # the module that the child runs
    extra: ClassVar[str]  # of ours, which brings the library that it needs
    lacking: ClassVar[tuple[str, ...]] = ("ModuleNotFoundError",)  # exceptions of a worker without that library

    def __init__(self, environment: Mapping[str, str], *, home: str, log: str, silence: float) -> None:
        self._environment, self._home, self._log, self._silence = environment, home, log, silence
        self._child: Child | None = None
        self._cancelled = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        shutil.rmtree(self._home, ignore_errors=True)

    def cancel(self) -> None:
        self._cancelled = True
        child = self._child  # another thread may let go of it meanwhile
        if child is not None:
            child.kill()

    @abstractmethod
    def _failure(self, error: ChildFailed, what: str) -> ReconcilerError:
        """For an exception that the worker does not know."""

    @abstractmethod
    def _death(self, error: ReconcilerError, what: str) -> ReconcilerError:
        """For a child that died, or had to be ended."""

    @abstractmethod
    def _refusal(self, refused: dict[str, Any], what: str) -> ReconcilerError:
        """For what the other side refuses."""

    def _ask(
        self,
        method: str,
        parameters: dict[str, Any],
        what: str,
        on_bytes: Callable[[int], None] = lambda count: None,
        timeout: float = ANSWER_SECONDS,
    ) -> dict[str, Any]:
        """The worker's answer. `what` is asked about begins each error; `on_bytes` as in RemoteSource.download."""

        def listen(event: dict[str, Any]) -> None:
            if "bytes" in event:
                on_bytes(event["bytes"])

        child = self._started()
        try:
            answer = child.call(method, parameters, timeout=timeout, on_event=listen, silence=self._silence)
        except ChildFailed as error:
            if error.kind in self.lacking:
                message = f"{what}: {one_line(error.message)}"
                raise TemporaryError(message, hint=install_command(self.extra), code="ToolsMissing") from None
            raise self._failure(error, what) from None
        except (ChildDied, ChildTimedOut) as error:
            self._end()
            raise self._cancellation() if self._cancelled else self._death(error, what) from None
        if "refused" in answer:
            raise self._refusal(answer["refused"], what)
        return answer

    def _started(self) -> Child:
        with self._lock:
            if self._cancelled:
                raise self._cancellation()
            if self._child is None:
                os.makedirs(self._home, exist_ok=True)
                os.makedirs(os.path.dirname(self._log), exist_ok=True)
                self._child = Child(
                    module=self.worker, environment=self._environment, log=self._log, directory=self._home
                )
            return self._child

    def _end(self) -> None:
        self._child, child = None, self._child
        if child is not None:
            child.kill()  # it has nothing to tidy up
            child.close()

    @staticmethod
    def _cancellation() -> Cancelled:
        return Cancelled("the download was cancelled", delay=0)
