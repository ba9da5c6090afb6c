"""What the registries of a machine are asked: whether an artifact has been built, for a plan, and for the numbers
that belong to one. The libraries that speak with registries load with the first question.

A plan asks each once a pass and does not wait for it long: one try, a few seconds. One that cannot be asked is named
in the answers; a daemon asks it again after a minute, then after longer and longer. After `apply` nothing asks again,
so that is patient.
"""

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from reconciler.domain.backoff import Backoff, spread
from reconciler.domain.errors import ReconcilerError, TemporaryError
from reconciler.domain.machine.registries import Offer, RegistryAnswers, RegistrySettings
from reconciler.domain.machine.trust import Refusal
from reconciler.domain.measured import TEXTS_DIGEST, Fidelity
from reconciler.domain.reference import Comparison
from reconciler.engine.machine import Machine
from reconciler.engine.timetable import Turns
from reconciler.engine.trust import BuildTrust
from reconciler.store.modelpack import NotAnArtifact

if TYPE_CHECKING:  # it loads with the first question
    from reconciler.registry.client import RegistryClient

SILENCE = 3.0  # seconds
PATIENT_SILENCE, PATIENT_TRIES = 15.0, 2  # where a registry that many ask at once is worth waiting for
AGAIN = Backoff(first=60.0, longest=900.0)  # after a registry that did not answer
SLOW = ("RegistryUnreachable", "RegistryBusy")  # codes of what a pass would wait for once more
NOTHING: dict[str, Offer] = {}


class Silences:
    """Registries that did not answer: a pass waits for one of them once in a while, and knows in between what was
    wrong. In memory, by name."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic, draw: Callable[[], float] = random.random) -> None:
        self._ticks, self._draw = ticks, draw
        self._failed: dict[str, tuple[int, float, ReconcilerError]] = {}

    def error(self, name: str) -> ReconcilerError | None:
        """What was wrong, as long as it is not asked again."""
        _, again, error = self._failed.get(name, (0, 0.0, None))
        return error if self._ticks() < again else None

    def answered(self, name: str) -> None:
        self._failed.pop(name, None)

    def failed(self, name: str, error: ReconcilerError) -> None:
        times = self._failed[name][0] + 1 if name in self._failed else 1
        wished = error.delay if isinstance(error, TemporaryError) else 0.0
        rest = max(wished, spread(AGAIN.after(times), 0.75, 1.25, self._draw()))
        self._failed[name] = times, self._ticks() + rest, error


class RegistryLookup:
    """Remembers for one pass. `running` are the offers that are being pulled: they stand. `silences` outlive the pass,
    and so do `turns`: before its own a machine asks nothing. A `patient` one waits for a registry that is busy."""

    def __init__(
        self,
        machine: Machine,
        running: Mapping[str, Offer] = NOTHING,
        silences: Silences | None = None,
        turns: Turns | None = None,
        *,
        patient: bool = False,
    ) -> None:
        self._machine = machine
        self._tries, self._silence = (PATIENT_TRIES, PATIENT_SILENCE) if patient else (1, SILENCE)
        self._silences = silences or Silences()
        self.turns = turns or Turns()
        self._settings = machine.traits.pulls_from
        self._known: dict[str, Offer | None] = dict(running)
        self._unreached: dict[str, ReconcilerError] = {}
        self._refused: dict[str, Refusal] = {}
        self.trust = BuildTrust(machine.traits.trust)

    def answers(self, build_keys: Iterable[str]) -> RegistryAnswers:
        keys = list(dict.fromkeys(build_keys))
        new = [key for key in keys if key not in self._known]
        rest = self.turns.before_asking if new else 0.0
        if new and not rest:
            self._known |= dict.fromkeys(new)
            for settings in self._settings:
                self._ask(settings, [key for key in new if self._known[key] is None])
        error = next(iter(self._unreached.values()), None)
        return RegistryAnswers(
            offers={key: offer for key in keys if (offer := self._known.get(key)) is not None},
            unreached="" if error is None else str(error),
            code="" if error is None else error.code,
            hint="" if error is None else error.hint,
            refused={key: self._refused[key] for key in keys if key in self._refused},
            turn=self._machine.traffic.timetable.turn(rest) if rest else None,
        )

    def _ask(self, settings: RegistrySettings, build_keys: list[str]) -> None:
        from reconciler.registry.opening import open_registry
        from reconciler.registry.transfer import find

        name = str(settings.address)
        if not build_keys or name in self._unreached:
            return
        if (known := self._silences.error(name)) is not None:
            self._unreached[name] = known
            return
        try:
            with open_registry(settings, tries=self._tries, silence=self._silence) as opened:
                for key in build_keys:
                    if digest := find(opened.registry, key):
                        self._known[key] = self._offered(opened.registry, name, digest, key)
            self._silences.answered(name)
        except ReconcilerError as error:
            self._unreached[name] = error
            if error.code in SLOW:
                self._silences.failed(name, error)

    def _offered(self, registry: "RegistryClient", name: str, digest: str, key: str) -> Offer | None:
        """None for what this machine's policy refuses."""
        judged = self.trust.of_offer(registry, name, digest, key)
        self._refused.pop(key, None)  # of a registry that was asked before
        if judged.refusal is not None:
            self._refused[key] = judged.refusal
            # guard: what is refused is not offered
            if judged.refusal.enforced:
                return None
        missing = self._missing(registry.manifest(digest), digest, key)
        return Offer(
            registry=name,
            digest=digest,
            missing=missing,
            signed_by=judged.signed_by,
            fidelity=judged.fidelity,
            reference=judged.reference,
        )

    def _missing(self, manifest: bytes, digest: str, build_key: str) -> int:
        """0 for what is no artifact of ours: the pull says what is wrong with it."""
        from reconciler.registry import artifact

        try:
            files = artifact.read(digest, manifest).artifact.files
        except NotAnArtifact:
            return 0
        sizes = {file.digest: file.size for file in files}
        folder, blob = pull_folder(self._machine, build_key), self._machine.store.blob
        return sum(size - _have(one, size, folder) for one, size in sizes.items() if not os.path.exists(blob(one)))


def _have(digest: str, size: int, folder: str) -> int:
    path = os.path.join(folder, digest[7:])
    return next((os.path.getsize(one) for one in (path, f"{path}.part") if os.path.exists(one)), 0) if size else 0


def pull_folder(machine: Machine, build_key: str) -> str:
    """Where its blobs lie until the store takes them in."""
    return machine.layout.at("sources", "registry", build_key.removeprefix("sha256:"))


def sweep_pulls(machine: Machine, wanted: Iterable[str]) -> Iterator[str]:
    """Folders of pulls that nothing wants any more."""
    kept = {key.removeprefix("sha256:") for key in wanted}
    home = machine.layout.at("sources", "registry")
    names = os.listdir(home) if os.path.isdir(home) and not os.path.islink(home) else ()
    return (os.path.join(home, name) for name in names if name not in kept)


def offered_numbers(machine: Machine, registry: "RegistryClient", offer: Offer, build_key: str) -> Comparison | None:
    """Those that came with an offer, on the texts of today: what its builder signed was verified when it was offered.
    Raises RegistryFailed."""
    enforced = BuildTrust(machine.traits.trust).enforces(offer.registry)
    return _on_texts_of_today(
        _numbers(registry, offer.digest, build_key, offer.fidelity, offer.reference, enforced=enforced)
    )


def builders_numbers(machine: Machine, build_key: str, digest: str) -> Comparison | None:
    """The comparison with the source that came with an artifact, on the texts of today: as a trusted builder signed it
    or, where none has to, as the registry has it. Reference answers come along. Raises
    RegistryFailed where a registry does not answer and no other has it."""
    from reconciler.registry.opening import open_registry

    failed: ReconcilerError | None = None
    trust = BuildTrust(machine.traits.trust)
    for settings in machine.traits.pulls_from:
        name = str(settings.address)
        try:
            with open_registry(settings) as opened:
                signed = trust.of_offer(opened.registry, name, digest, build_key)
                enforced = trust.enforces(name)
                said = _numbers(
                    opened.registry, digest, build_key, signed.fidelity, signed.reference, enforced=enforced
                )
        except ReconcilerError as error:
            failed = failed or error
            continue
        if (found := _on_texts_of_today(said)) is not None:
            return found
    if failed is not None:
        raise failed
    return None


def _on_texts_of_today(found: Comparison | None) -> Comparison | None:
    return found if found is not None and found.fidelity.prompts == TEXTS_DIGEST else None


def _numbers(
    registry: "RegistryClient", digest: str, build_key: str, signed: Fidelity | None, reference: str, *, enforced: bool
) -> Comparison | None:
    """`signed` are those of a trusted builder, with the digest of the reference answers that it names; `enforced`: no
    others count."""
    from reconciler.registry.numbers import find_numbers, find_reference

    if signed is not None:
        answers = find_reference(registry, digest, build_key, reference) if reference else None
        return Comparison(fidelity=signed, reference=answers)
    # guard: numbers are signed too
    if enforced:
        return None
    return find_numbers(registry, digest, build_key)
