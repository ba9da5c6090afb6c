"""What a back end is: the program on this machine that serves models under names. The rest of the package knows these
two protocols only. Each back end has a package of its own beside this file, and `backends.select` lists them.

tests/backends/test_contract.py holds every implementation to it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, Protocol, Required, TypedDict, Unpack

from reconciler.domain.measured import Answer
from reconciler.domain.observed import Registration, ServedFolder
from reconciler.domain.release import Artifact, Marker, Release
from reconciler.gates.runtime import MeasuringRuntime
from reconciler.host.stamps import StampBook


class ServingRuntime(MeasuringRuntime, AbstractContextManager["ServingRuntime"], Protocol):
    """The running program on one catalog, a context manager. It starts at the first call, and one that died starts
    anew at the next. One call at a time; `kill` may come from another thread and ends the call in progress."""

    @property
    def process(self) -> int:
        """Its process id; 0 while there is none."""

    def register(self, path: str, identity: str, properties: Mapping[str, str]) -> None:
        """Name a served folder. PermanentError for a name that is taken, but where it was given as it is now and is
        damaged: that is mended. It is durable when this returns."""

    def unregister(self, identity: str) -> None:
        """Take a name away; one that is gone already is fine. No file is touched."""

    def list(self, properties: Sequence[str] = ()) -> tuple[Registration, ...]:
        """What the program itself lists, with these properties of each."""

    def ask(
        self,
        identity: str,
        messages: Sequence[tuple[str, str]],
        max_tokens: int,
        temperature: float | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Load the model if it is not loaded, and send (role, text) messages. `on_text` gets each piece of the answer
        as it comes."""


class RuntimeOptions(TypedDict, total=False):
    """`scratch` is a folder for the program's own files. `confined`: without network and privileges, where the system
    can do that. Once `is_cancelled` it does not start again. `stamps` keep known what it gives further names to."""

    scratch: Required[str]
    log: Required[str]
    confined: bool
    is_cancelled: Callable[[], bool]
    stamps: StampBook


class Backend(Protocol):
    """One catalog of names, and the folders that it may name. The class itself has what holds for every catalog."""

    name: ClassVar[str]  # in a machine's configuration
    packages: ClassVar[Mapping[str, str]]  # that it needs, at the versions that are tested
    proved: ClassVar[tuple[str, ...]]  # the versions of foundry-local-sdk that pass the contract, the newest first
    root_inside_catalog: ClassVar[str]  # what goes wrong when a root lies in the catalog's folder

    catalog: str
    index: str  # the file that holds the names: when it changes, so did the catalog

    def __init__(self, catalog: str) -> None: ...

    @staticmethod
    def catalog_of(app: str, home: str) -> str:
        """Where an application of this name keeps its catalog."""

    @staticmethod
    def catalogs_in(home: str) -> Sequence[str]:
        """The catalogs that applications of a user have made."""

    @staticmethod
    def reserved(name: str) -> str:
        """Why no model can have this name; "" when it can."""

    def sdk_version(self) -> str:
        """Of the foundry-local-sdk that is here for this runtime; "" where there is none. Nothing is imported."""

    def registrations(self, *, every_byte: bool = False) -> tuple[Registration, ...]:
        """All names, ours and those of others, read without starting anything. Raises CatalogBroken. `every_byte`: what
        the program keeps copies of is read, whatever its stamps say."""

    def runtime(self, **options: Unpack[RuntimeOptions]) -> ServingRuntime:
        """The program on this catalog."""

    def at(self, catalog: str) -> "Backend":
        """The same program on another catalog."""

    def rehearsal_at(self, catalog: str) -> "Backend":
        """What a release is rehearsed in before it serves, on a private catalog that is thrown away: the same program,
        or the nearest to it that is here."""

    def assemble(  # noqa: PLR0913 - the marker records each of them
        self,
        directory: str,
        release: Release,
        artifact: Artifact,
        blob: Callable[[str], str],
        stamps: StampBook,
        *,
        owner: str,
        number: int,
        revision: str,
        created: str,
        protected: bool,
    ) -> Marker:
        """Fill an empty folder with all that this release serves, its marker last."""

    def inspect(self, path: str, stamps: StampBook) -> ServedFolder:
        """What is wrong with one served folder, if anything. Reads only."""

    def rewrite_marker(self, path: str, marker: Marker, stamps: StampBook, staging: str) -> None:
        """Give a whole folder a marker that says more."""

    def release_in(self, folder: str, marker: Marker) -> Release | None:
        """The release that a whole served folder holds; None where its digest is not the marker's."""

    def context_length(self, folder: str) -> int:
        """Tokens that a model of this served folder takes."""
