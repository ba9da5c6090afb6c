"""What a pass is given beside the manifests: Options, and a Reporter that shows its steps."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from reconciler.backends.protocol import ServingRuntime
from reconciler.conversion.client.converter import Converter
from reconciler.domain.changes import Change
from reconciler.domain.plan import Outcome
from reconciler.engine.rollouts.ring_reader import RingReader


class Reporter:
    """Shows the steps of a pass; this one shows nothing. Called by the thread that makes the pass; `started` and
    `progressed` by the threads of jobs too."""

    def started(self, change: Change) -> None: ...

    def progressed(self, change: Change, fraction: float, text: str) -> None:
        """`fraction` from 0 to 1; `text` is what is being done."""

    def alive(self) -> None:
        """A step that shows no progress has got on."""

    def finished(self, outcome: Outcome) -> None: ...

    @contextmanager
    def moving(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """While something is pushed: the function takes the bytes that are there, of how many."""
        yield lambda done, total: None


@dataclass(frozen=True, kw_only=True)
class Options:
    """`jobs`: conversions at a time. For each conversion `conversion_timeout` in seconds, `conversion_memory` in bytes
    (0: most of the machine's) and the sandbox `cage` ("auto", "require", "off"). `retry` forgets remembered failures
    first. `token_files` hold the tokens of remote sources, by kind; `reports` are those of other machines, for
    Rollouts. The last three are for tests."""

    confirm: bool = False
    jobs: int = 1
    conversion_timeout: float = 6 * 3600.0
    conversion_memory: int = 0
    cage: str = "auto"
    retry: bool = False
    token_files: Mapping[str, str] = field(default_factory=dict)
    reports: RingReader | None = None
    converter_module: str = ""
    make_converter: Callable[[], Converter] | None = None
    make_runtime: Callable[[str, str, str], ServingRuntime] | None = None  # (catalog, scratch, log)
