"""ServedTogether: several runtimes on one machine as one `Backend`. Each release is registered in all of them, in their
order, and taken away from all of them.

A name counts as one registration. Where not all runtimes have it, or not all have it whole, that is its `damage`, and
registering it again gives it to those that lack it; the others serve meanwhile. Only the first one's folder of names is
ours to choose (`--cache`); the others are as configured.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Unpack

from reconciler.backends.foundry.backend import FoundryLocal
from reconciler.backends.protocol import Backend, RuntimeOptions, ServingRuntime
from reconciler.domain.measured import Answer, Embedded, Transcribed
from reconciler.domain.observed import PREFIX, Registration

PROBE = 1  # token of an answer: enough to show that a runtime loads a model and answers


class ServedTogether:
    """What is not about names is the first one's: served folders are the same for all."""

    name: ClassVar[str] = "several"
    packages: ClassVar[Mapping[str, str]] = FoundryLocal.packages
    proved: ClassVar[tuple[str, ...]] = FoundryLocal.proved
    root_inside_catalog: ClassVar[str] = "each runtime has a folder of its own"

    def __init__(self, backends: Sequence[Backend], *, rehearses: bool = False) -> None:
        self.backends, self._rehearses = tuple(backends), rehearses
        self._first = self.backends[0]
        self.catalog, self.index = self._first.catalog, self._first.index
        self.assemble, self.inspect = self._first.assemble, self._first.inspect
        self.rewrite_marker, self.release_in = self._first.rewrite_marker, self._first.release_in
        self.context_length, self.sdk_version = self._first.context_length, self._first.sdk_version

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.backends)

    @staticmethod
    def catalog_of(app: str, home: str) -> str:
        return FoundryLocal.catalog_of(app, home)

    @staticmethod
    def catalogs_in(home: str) -> Sequence[str]:
        return FoundryLocal.catalogs_in(home)

    @staticmethod
    def reserved(name: str) -> str:
        return FoundryLocal.reserved(name)

    def registrations(self, *, every_byte: bool = False) -> tuple[Registration, ...]:
        return merged({one.name: one.registrations(every_byte=every_byte) for one in self.backends})

    def runtime(self, **options: Unpack[RuntimeOptions]) -> "RuntimesTogether":
        runtimes: dict[str, ServingRuntime] = {}
        for one, path in self._beside(options["scratch"]):
            beside: RuntimeOptions = {**options, "scratch": path}
            runtimes[one.name] = one.runtime(**beside)
        registrations = {one.name: one.registrations for one in self.backends}
        return RuntimesTogether(runtimes, registrations, probes=self._rehearses)

    def at(self, catalog: str) -> Backend:
        return ServedTogether([one.at(path) for one, path in self._beside(catalog)])

    def rehearsal_at(self, catalog: str) -> Backend:
        """A rehearsal takes place in each kind of runtime that can be had here, once."""
        rehearsing = [one.rehearsal_at(path) for one, path in self._beside(catalog)]
        kinds = {one.name: one for one in reversed(rehearsing)}
        different = tuple(one for one in rehearsing if kinds[one.name] is one)
        return ServedTogether(different, rehearses=True) if len(different) > 1 else different[0]

    def _beside(self, path: str) -> Iterator[tuple[Backend, str]]:
        """Each with a path of its own."""
        for number, one in enumerate(self.backends):
            yield one, path + (f"-{number}" if number else "")


class RuntimesTogether:
    """As ServingRuntime. What is measured is measured in the first. With `probes` the others show, once for each model,
    that they load it and answer."""

    def __init__(
        self,
        runtimes: Mapping[str, ServingRuntime],
        registrations: Mapping[str, Callable[[], Sequence[Registration]]],
        *,
        probes: bool,
    ) -> None:
        self._runtimes, self._registrations, self._probes = runtimes, registrations, probes
        self._first, *self._others = runtimes.values()
        self._probed: set[str] = set()
        self.start, self.memory, self.unload = self._first.start, self._first.memory, self._first.unload
        self.count, self.compare_tokenizer = self._first.count, self._first.compare_tokenizer
        self.decode, self.providers = self._first.decode, self._first.providers

    def register(self, path: str, identity: str, properties: Mapping[str, str]) -> None:
        """In those that lack it."""
        wanted = Registration(id=identity, path=path, properties=dict(properties))
        held = {name: _of(identity, read()) for name, read in self._registrations.items()}
        lacking = [name for name, entry in held.items() if entry is None or not _holds(entry, wanted)]
        for name in lacking or [*self._runtimes][:1]:  # where none lacks it, the first one says that it is taken
            self._runtimes[name].register(path, identity, properties)

    def unregister(self, identity: str) -> None:
        """From those where it is of the same owner as in the first that has it: another program may have the name in
        one of them."""
        self._probed.discard(identity)
        held = {name: _of(identity, read()) for name, read in self._registrations.items()}
        owner = next((one.owner for one in held.values() if one is not None and one.owner), "")
        for name, runtime in self._runtimes.items():
            entry = held[name]
            if entry is None or entry.owner == owner:  # guard: another's name stays in its runtime
                runtime.unregister(identity)

    def list(self, properties: Sequence[str] = ()) -> tuple[Registration, ...]:
        return merged({name: one.list(properties) for name, one in self._runtimes.items()})

    def ask(
        self,
        identity: str,
        messages: Sequence[tuple[str, str]],
        max_tokens: int,
        temperature: float | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        self._probe(identity, lambda other: other.ask(identity, messages, PROBE, 0.0))
        return self._first.ask(identity, messages, max_tokens, temperature, on_text)

    def _probe(self, identity: str, asked: Callable[[ServingRuntime], object]) -> None:
        if self._probes and identity not in self._probed:
            for other in self._others:
                asked(other)
            self._probed.add(identity)

    def embed(self, identity: str, texts: Sequence[str]) -> Embedded:
        self._probe(identity, lambda other: other.embed(identity, texts))
        return self._first.embed(identity, texts)

    def transcribe(self, identity: str, audio: bytes, language: str) -> Transcribed:
        self._probe(identity, lambda other: other.transcribe(identity, audio, language))
        return self._first.transcribe(identity, audio, language)

    def measure(self) -> tuple[int, dict[str, str]]:
        """The peak is the first one's, the versions are those of all that answered."""
        peak, versions = self._first.measure()
        for other in self._others if self._probed else ():
            versions = {**other.measure()[1], **versions}
        return peak, versions

    @property
    def process(self) -> int:
        return self._first.process

    def kill(self) -> None:
        for one in self._runtimes.values():
            one.kill()

    def close(self) -> None:
        self._probed.clear()
        for one in self._runtimes.values():
            one.close()

    def __enter__(self) -> "RuntimesTogether":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def merged(found: Mapping[str, Sequence[Registration]]) -> tuple[Registration, ...]:
    """By the name of each runtime what it has, as one catalog."""
    by_name = {name: {one.id: one for one in ones} for name, ones in found.items()}
    ids = dict.fromkeys(identity for ones in by_name.values() for identity in ones)
    return tuple(_merged(identity, by_name) for identity in ids)


def _merged(identity: str, found: Mapping[str, Mapping[str, Registration]]) -> Registration:
    """What is ours counts for all, so that it is seen wherever it is."""
    held = [(name, ones.get(identity)) for name, ones in found.items()]
    there = [one for _, one in held if one is not None]
    base = next((one for one in there if one.owner), there[0])
    if not base.owner:
        return base
    lacking = {name: tuple(_lacking(name, one, base)) for name, one in held}
    damage = tuple(text for texts in lacking.values() for text in texts)
    return replace(base, damage=damage, runtimes=tuple(name for name, texts in lacking.items() if not texts))


def _lacking(name: str, entry: Registration | None, base: Registration) -> Iterator[str]:
    if entry is None:
        yield f"not registered in {name}"
    elif not entry.owner:
        yield f"the name is another program's in {name}"
    elif not _holds(replace(entry, damage=()), base):
        yield f"registered otherwise in {name}"
    else:
        yield from (f"{text} ({name})" for text in entry.damage)


def _of(identity: str, ones: Sequence[Registration]) -> Registration | None:
    return next((one for one in ones if one.id == identity), None)


def _holds(entry: Registration, wanted: Registration) -> bool:
    """Whole, and with our properties as wanted: a runtime adds some of its own."""
    ours = {name: text for name, text in wanted.properties.items() if name.startswith(PREFIX)}
    return entry.path == wanted.path and not entry.damage and ours.items() <= entry.properties.items()
