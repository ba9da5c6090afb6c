"""Are the sources of models signed as this machine's configuration wants it (rules of `trust` with `source`)? Looks at
the OpenSSF model signature (`model.sig`) of a folder, and of what was fetched or is being fetched, before anything is
converted. Keys are read, and the library behind them loads, where a rule asks for them.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from reconciler.domain.errors import TemporaryError
from reconciler.domain.machine.registries import LOCAL
from reconciler.domain.machine.trust import ENFORCE, OFF, TrustPolicy, TrustRule
from reconciler.domain.manifest import Model
from reconciler.domain.sources.locked import GIT, LockedSource
from reconciler.domain.text.quoting import in_short, shown
from reconciler.engine.machine import Machine
from reconciler.engine.trust import KeyRings
from reconciler.host.reading import read_whole
from reconciler.manifests.paths import inside
from reconciler.planner.conditions import SOURCE_UNTRUSTED
from reconciler.sources.cache import SourceCache
from reconciler.sources.model_signature import LARGEST, NAME, NotAModelSignature, differences, read

if TYPE_CHECKING:  # it loads where a rule asks for keys
    from reconciler.host.stamps import StampBook
    from reconciler.registry.signatures import KeyRing

SHOWN = 3  # differences in one message
MOST = 10_000  # files of a folder
HINT = "sign it anew (`model_signing sign key`), or change `trust` in the configuration of this machine"
NO_RULE = "no rule of `trust` covers this source"
COVER_IT = "`trust` in the configuration of this machine has rules for sources: add one; mode: off takes everything"
NOT_HERE = (
    f"it came before a signature was asked for: name {NAME} in `include` of its manifest and run `reconciler lock`"
)


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Why a source is not trusted; or, where it is not `enforced`, only doubted."""

    message: str
    hint: str
    enforced: bool


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What there is to compare with a signature: names, their digests, and which of those signed have to be there."""

    names: Callable[[], Iterable[str]]
    digest_of: Callable[[str], str]
    is_expected: Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class SourceTrust:
    """For one pass. `exports` is the folder below which folders of a followed repository are written out. `converts`:
    what is not here will be fetched to be converted."""

    policy: TrustPolicy
    cache: SourceCache
    stamps: "StampBook"
    exports: str
    converts: bool = True
    _rings: KeyRings = field(default_factory=KeyRings)
    _seen: dict[object, Doubt | None] = field(default_factory=dict)

    @classmethod
    def of(cls, machine: Machine) -> "SourceTrust":
        return cls(
            policy=machine.traits.trust,
            cache=machine.sources,
            stamps=machine.stamps,
            exports=machine.layout.at("sources"),
            converts=machine.traits.convert == LOCAL,
        )

    def of_model(self, model: Model) -> Iterator[tuple[str, Doubt]]:
        """By the field of its manifest. Of a source from elsewhere, as soon as its signature is here."""
        if not self.policy.sources:
            return
        places = {"spec.source": model.source_path, "spec.source.adapter": model.adapter_path}
        for name, path in places.items():
            if path and (doubt := self._once(path, partial(self._of_folder, path))) is not None:
                yield name, doubt
        remote = model.remote
        if remote is None or not remote.files:
            return
        if (doubt := self._once((remote.key, remote.digest), partial(self._of_locked, remote))) is not None:
            yield remote.field, doubt

    def fields_asked(self, model: Model) -> frozenset[str]:
        """The fields of its manifest whose sources have to be signed here."""
        places = {"spec.source": model.source_path, "spec.source.adapter": model.adapter_path}
        names = {field: path.replace(os.sep, "/") for field, path in places.items() if path}
        if model.remote is not None:
            names[model.remote.field] = self._name_of(model.remote)
        return frozenset(field for field, name in names.items() if self.policy.rule_for_source(name).mode != OFF)

    def _once(self, key: object, look: Callable[[], Doubt | None]) -> Doubt | None:
        """Many models of a fleet share a source."""
        if key not in self._seen:
            self._seen[key] = look()
        return self._seen[key]

    def require(self, source: LockedSource, folder: str) -> None:
        """While it is being fetched into `folder`: its signature is there, or it has none. Raises TemporaryError."""
        doubt = self._of_fetched(source, os.path.join(folder, NAME))
        # guard: weights come after their signature
        if doubt is not None and doubt.enforced:
            raise TemporaryError(doubt.message, hint=doubt.hint, code=SOURCE_UNTRUSTED)

    def _of_folder(self, path: str) -> Doubt | None:
        rule = self.policy.rule_for_source(path.replace(os.sep, "/"))
        if rule.mode == OFF or not os.path.isdir(path):  # what is not there has problems of its own
            return None
        # Of a repository only the files directly in a folder are written out.
        exported = inside(path, self.exports)
        files = _Files(
            names=lambda: _walked(path),
            digest_of=lambda name: self.stamps.digest(os.path.join(path, *name.split("/"))),
            is_expected=lambda name: not exported or "/" not in name,
        )
        return self._judged(rule, os.path.basename(path), os.path.join(path, NAME), files, HINT)

    def wants(self, source: LockedSource) -> bool:
        """Whether a signature is asked for: then it comes too, of the locked commit, whatever the lock names."""
        return bool(self.policy.sources) and self._rule_of(source).mode != OFF

    def _of_locked(self, source: LockedSource) -> Doubt | None:
        """Nothing is known before something came."""
        places = [os.path.join(one, NAME) for one in self.cache.places(source.digest)[:2]]
        path = next(filter(os.path.isfile, places), "")
        return self._of_fetched(source, path) if path or self.cache.is_here(source) else None

    def _rule_of(self, source: LockedSource) -> TrustRule:
        return self.policy.rule_for_source(self._name_of(source))

    def _name_of(self, source: LockedSource) -> str:
        """By which rules know it: of a folder of the followed repository the path where its other folders lie."""
        # guard: what Git LFS keeps has the rule of its folder
        if source.kind == GIT:
            return os.path.join(self.exports, source.revision).replace(os.sep, "/")
        return f"{source.kind}/{source.repo}"

    def _of_fetched(self, source: LockedSource, path: str) -> Doubt | None:
        """By the digests of the lock, which all that comes is compared with: the signature is enough."""
        rule = self._rule_of(source)
        if rule.mode == OFF:
            return None
        digests = {file.path: f"sha256:{file.sha256}" for file in source.files}
        files = _Files(names=lambda: digests, digest_of=digests.__getitem__, is_expected=source.expects)
        comes_always = source.kind == GIT  # where its tree has one
        return self._judged(rule, str(source), path, files, HINT if path or comes_always else NOT_HERE)

    def _judged(self, rule: TrustRule, name: str, path: str, files: _Files, hint: str) -> Doubt | None:
        from reconciler.registry.signatures import Unproven

        if not rule.keys:  # a rule that asks for signatures has keys
            return Doubt(message=f"{name} is not trusted: {NO_RULE}", hint=COVER_IT, enforced=True)
        ring = self._rings.of(rule.keys)
        try:
            wrong = list(_compared(ring, path, files))
        except (Unproven, NotAModelSignature) as error:
            wrong = [str(error)]
        # guard: a source is signed by a key that counts
        if not wrong:
            return None
        said = ring.unsigned([in_short(wrong, SHOWN)])
        return Doubt(message=f"{name} is not trusted: {said}", hint=hint, enforced=rule.mode == ENFORCE)


def _compared(ring: "KeyRing", path: str, files: _Files) -> Iterator[str]:
    try:
        data = read_whole(path, LARGEST) if path else b""
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise _unreadable(NAME, error) from None
    if not data:
        raise NotAModelSignature(f"it is unsigned: it has no {NAME}")
    signed = read(ring.opened(data)[1])
    try:
        yield from differences(signed, files.names(), files.digest_of, files.is_expected)
    except OSError as error:  # a pipe, a link to nowhere, a file that others may read only
        raise _unreadable(os.path.basename(str(error.filename or "a file")), error) from None


def _unreadable(name: str, error: OSError) -> NotAModelSignature:
    return NotAModelSignature(f"{shown(name)} cannot be read: {(error.strerror or str(error)).lower()}")


def _walked(folder: str) -> list[str]:
    """All files below it, but for what belongs to git; a link to a folder is not entered, and is no file."""
    found: list[str] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if place != folder or one != ".git")
        found += [os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/") for name in names]
        if len(found) > MOST:
            raise NotAModelSignature(f"its folder has more than {MOST:,} files")
    return found
