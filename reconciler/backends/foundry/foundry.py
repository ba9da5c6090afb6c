"""Foundry: the ServingRuntime of Foundry Local on one cache. Its SDK runs in a child process (worker.py) with a time
limit per call.

The child starts at `start` (in the background) or at the first call, and stays; one that died or hung is replaced at
the next call. Each change is checked by reading the index afterwards, and the index as it was before the first change
is kept in `scratch`.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

from reconciler.backends.foundry.index import INDEX, read_index, wait_until_free
from reconciler.backends.foundry.problems import translate
from reconciler.backends.foundry.provider_libraries import environment_of
from reconciler.domain.errors import Cancelled, DiskFull, PermanentError, RuntimeUnavailable
from reconciler.domain.measured import Answer, ComputedBy, Decoded, Embedded, Referenced, Tokenized, Transcribed
from reconciler.domain.observed import Registration
from reconciler.domain.plain_data import as_dict
from reconciler.domain.reference import Reference
from reconciler.domain.text.escape import one_line
from reconciler.host import durable
from reconciler.host.child import Child, ChildDied, ChildFailed, ChildTimedOut
from reconciler.host.environment import private_environment
from reconciler.host.processes import resident
from reconciler.host.stamps import StampBook

BACKUP = "index.bak"
OnEvent = Callable[[dict[str, Any]], None]

CONFINED = "RECONCILER_CONFINED"  # in the child's environment


@dataclass(frozen=True, kw_only=True)
class TimeLimits:
    """Seconds. Another application may hold the catalog's lock for a while."""

    catalog: float = 60.0
    load: float = 300.0
    answer: float = 300.0


DEFAULT_LIMITS = TimeLimits()


@dataclass(eq=False)
class Foundry(contextlib.AbstractContextManager["Foundry"]):
    """As ServingRuntime, with RuntimeOptions. `confined`: its child reads foreign models, so it runs without network
    and privileges where the system can do that (host.confine). `stamps` are for CacheRuntime: this gives nothing a
    further name."""

    cache_dir: str
    _: KW_ONLY
    scratch: str
    log: str
    limits: TimeLimits = DEFAULT_LIMITS
    confined: bool = False
    is_cancelled: Callable[[], bool] = lambda: False
    stamps: StampBook = field(default_factory=StampBook.empty)
    provider_libraries: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._child: Child | None = None
        self._reader: Child | None = None  # of tokenizers: its memory is not the model's
        self._opened: Future[Any] | None = None
        self._backed_up = False
        self._locked = False  # as of the last call to the catalog

    def start(self) -> None:
        """Begin to start the child; return at once."""
        if self.is_cancelled():
            raise Cancelled("the runtime is not needed any more", delay=0)
        if self._child is not None:
            return
        self._make_folders()
        self._child = self._new_child()
        parameters = {"cache_dir": self._catalog_of_child, "scratch": self.scratch}
        opener = ThreadPoolExecutor(max_workers=1)
        self._opened = opener.submit(self._child.call, "open", parameters, timeout=self.limits.catalog)
        opener.shutdown(wait=False)
        if self.is_cancelled():  # meanwhile, when there was no child to be killed
            self.kill()

    @property
    def _catalog_of_child(self) -> str:
        return self.cache_dir

    def _new_child(self) -> Child:
        return Child(
            module="reconciler.backends.foundry.worker",
            environment=private_environment(
                self.scratch, **({CONFINED: "1"} if self.confined else {}), **environment_of(self.provider_libraries)
            ),
            log=self.log,
            directory=self.scratch,
        )

    def _make_folders(self) -> None:
        """Before Foundry Local makes its own and flushes nothing: a catalog is lost with the folder it lies in."""
        os.makedirs(self.scratch, exist_ok=True)
        durable.make_folder(self.cache_dir)  # flush: the folder above the catalog's

    def register(self, path: str, identity: str, properties: Mapping[str, str]) -> None:
        self._back_up()
        self._catalog_call("register", {"path": path, "id": identity, "properties": dict(properties)})
        self._make_last()
        entry = self._entry(identity)
        if entry is None or entry.path != path or not properties.items() <= entry.properties.items():
            raise PermanentError(f"{identity} is not in the catalog as it was registered", code="NotRegistered")

    def unregister(self, identity: str) -> None:
        with contextlib.suppress(DiskFull):  # a removal ends that: rather without a copy than not at all
            self._back_up()
        try:
            self._catalog_call("unregister", {"id": identity})
        except PermanentError as error:
            if error.code != "NotRegistered":
                raise
        self._make_last()
        if self._entry(identity) is not None:
            raise PermanentError(f"{identity} is still in the catalog", code="NotUnregistered")

    def list(self, properties: Sequence[str] = ()) -> tuple[Registration, ...]:
        """The path is empty when the folder is gone."""
        found = self._catalog_call("list", {"properties": [*properties]})["models"]
        return tuple(
            Registration(
                id=model["id"],
                path=model["path"],
                properties={key: value for key, value in model["properties"].items() if value is not None},
            )
            for model in found
        )

    def ask(
        self,
        identity: str,
        messages: Sequence[tuple[str, str]],
        max_tokens: int,
        temperature: float | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Fewer than `max_tokens` are asked for when the context has less room."""
        loaded = self._model_call("load", {"id": identity}, self.limits.load)
        question = {
            "id": identity,
            "messages": [[role, text] for role, text in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        answer = self._model_call(
            "ask", question, self.limits.answer, lambda event: on_text(event["text"]) if on_text is not None else None
        )
        return Answer(load_seconds=loaded["seconds"], **answer)

    def embed(self, identity: str, texts: Sequence[str]) -> Embedded:
        loaded = self._model_call("load", {"id": identity}, self.limits.load)
        found = self._model_call("embed", {"id": identity, "texts": [*texts]}, self.limits.answer)
        vectors = tuple(map(tuple, found["vectors"]))
        return Embedded(vectors=vectors, load_seconds=loaded["seconds"], seconds=found["seconds"])

    def transcribe(self, identity: str, audio: bytes, language: str) -> Transcribed:
        """Foundry Local hears a file: there is one as long as it takes."""
        loaded = self._model_call("load", {"id": identity}, self.limits.load)
        # On Windows a file that the runtime holds open cannot go: that must not hide what the runtime said.
        with TemporaryDirectory(prefix="recording-", dir=self.scratch, ignore_cleanup_errors=True) as folder:
            path = os.path.join(folder, "recording")
            with open(path, "wb") as file:
                file.write(audio)
            asked = {"id": identity, "path": path, "language": language}
            found = self._model_call("transcribe", asked, self.limits.answer)
        return Transcribed(load_seconds=loaded["seconds"], **found)

    def count(self, identity: str, messages: Sequence[tuple[str, str]]) -> int:
        """The tokens of the prompt that the template makes of (role, text) messages; nothing is generated."""
        self._model_call("load", {"id": identity}, self.limits.load)
        question = {"id": identity, "messages": [[role, text] for role, text in messages]}
        counted: int = self._model_call("count", question, self.limits.answer)["tokens"]
        return counted

    def unload(self, identity: str) -> None:
        """Its memory goes back to the system."""
        self._model_call("unload", {"id": identity}, self.limits.answer)

    def compare_tokenizer(self, folder: str) -> Tokenized:
        """The runtime's, with the source's own (gates.tokenizer)."""
        self._make_folders()
        reader = self._reader = self._reader or self._new_child()
        try:
            return Tokenized(**reader.call("tokenizer", {"folder": folder}, timeout=self.limits.load))
        except ChildFailed as error:
            raise PermanentError(one_line(error.message), code="TokenizerUnloadable") from None
        except (ChildDied, ChildTimedOut) as error:
            self._close_reader()
            raise PermanentError(one_line(str(error)), code="RuntimeDied", hint=error.hint) from None

    def decode(
        self,
        identity: str,
        folder: str,
        boundaries: Mapping[str, int],
        tokens: int = 0,
        reference: Reference | None = None,
    ) -> tuple[Decoded, Referenced]:
        """Token by token against the whole (gates.decoding), and the whole against what was found where it was built
        (gates.reference). It takes the memory of the model that was loaded."""
        asked = {"id": identity, "folder": folder, "boundaries": dict(boundaries), "tokens": tokens}
        asked["reference"] = reference and as_dict(reference)
        found = self._model_call("decode", asked, self.limits.load + self.limits.answer)
        decoded = {**found["decoded"], "unmeasured": tuple(found["decoded"]["unmeasured"])}
        return Decoded(**decoded), Referenced(**found["referenced"])

    def providers(self, identity: str, folder: str) -> tuple[ComputedBy, ...]:
        """Which execution providers compute it, by the runtime's own profile. It takes the memory of the model that
        was loaded."""
        found = self._model_call("providers", {"id": identity, "folder": folder}, self.limits.load)
        return tuple(ComputedBy(**one) for one in found["providers"])

    def measure(self) -> tuple[int, dict[str, str]]:
        """Peak memory of the child in bytes since the last load, and the versions of the libraries that
        answered."""
        found = self._model_call("measure", {}, self.limits.catalog)
        return found["peak_memory_bytes"], found["runtime"]

    def memory(self) -> int:
        """Bytes that the child holds now."""
        return resident(self.process)

    @property
    def process(self) -> int:
        child = self._child
        return child.pid if child is not None else 0

    def kill(self) -> None:
        for child in (self._child, self._reader):  # another thread may set them to None meanwhile
            if child is not None:
                child.kill()

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def close(self) -> None:
        self._close_reader()
        try:
            if self._child is not None:
                self._child.close()  # it may take seconds to end by itself: until then `kill` still finds it
        finally:
            self._child = None

    def __exit__(self, *_: object) -> None:
        self.close()

    def _entry(self, identity: str) -> Registration | None:
        return next((one for one in read_index(self.cache_dir) if one.id == identity), None)

    def _make_last(self) -> None:
        """Foundry Local renames its index into place and flushes nothing. After a power cut a record must not outlive
        its registration, nor a registration the folder that is removed next."""
        index = os.path.join(self.cache_dir, INDEX)
        if os.path.exists(index):
            durable.flush_file(index)  # flush: Foundry Local's catalog
            durable.flush_folder(self.cache_dir)  # flush: the folder of the catalog

    def _back_up(self) -> None:
        """Once, before the first change, and only of an index that can be read."""
        if self._backed_up:
            return
        if read_index(self.cache_dir):
            with open(os.path.join(self.cache_dir, INDEX), "rb") as index:
                os.makedirs(self.scratch, exist_ok=True)
                durable.write_file(os.path.join(self.scratch, BACKUP), index.read())
        self._backed_up = True

    def _catalog_call(self, verb: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """The catalog is shared with other applications: no answer means try again later."""
        self._require_unlocked()
        try:
            return self._call(verb, parameters, self.limits.catalog)
        except ChildTimedOut as error:
            self._locked = True
            raise RuntimeUnavailable(
                f"Foundry Local's catalog did not answer within {self.limits.catalog:g} s",
                code="CatalogLocked",
                hint=f"another application may hold the lock in {self.cache_dir}; {error.hint}",
            ) from None
        except ChildDied as error:
            raise RuntimeUnavailable(one_line(str(error)), code="RuntimeDied", hint=error.hint) from None

    def _require_unlocked(self) -> None:
        """Only the first call waits: a hundred models must not wait a hundred times for one other application."""
        patience = 0.0 if self._locked else self.limits.catalog
        holder = wait_until_free(self.cache_dir, patience)
        self._locked = bool(holder)
        if holder:
            waited = f" for more than {patience:g} s" if patience else " still"
            raise RuntimeUnavailable(
                f"the lock of Foundry Local's catalog is held{waited} by {holder}",
                code="CatalogLocked",
                hint=f"tried again later; every application on {self.cache_dir} waits: end that process if it hangs",
            )

    def _model_call(
        self, verb: str, parameters: dict[str, Any], timeout: float, on_event: OnEvent = lambda event: None
    ) -> dict[str, Any]:
        """A model that hangs or crashes the runtime will do so again."""
        try:
            return self._call(verb, parameters, timeout, on_event)
        except ChildTimedOut as error:
            raise PermanentError(
                f"no end of {verb} within {timeout:g} s", code="RuntimeHung", hint=error.hint
            ) from None
        except ChildDied as error:
            # Only a lack of memory, or a person, sends this signal: it need not be the model's fault.
            kind = RuntimeUnavailable if "SIGKILL" in str(error) else PermanentError
            raise kind(one_line(str(error)), code="RuntimeDied", hint=error.hint) from None

    def _call(
        self, verb: str, parameters: dict[str, Any], timeout: float, on_event: OnEvent = lambda event: None
    ) -> dict[str, Any]:
        try:
            return self._open_child().call(verb, parameters, timeout=timeout, on_event=on_event)
        except ChildFailed as error:
            raise translate(error.kind, error.message) from None
        except (ChildDied, ChildTimedOut):
            self.close()
            raise

    def _open_child(self) -> Child:
        self.start()
        assert self._child is not None
        assert self._opened is not None
        try:
            self._opened.result()
        except ChildFailed:
            self.close()  # a half-opened SDK is of no use to the next call
            raise
        return self._child
