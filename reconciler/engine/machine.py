"""Machine: one root and one back end, with all that a pass reads and writes. `observe` reads what is there, `recall`
what the records hold."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.backends.protocol import Backend
from reconciler.backends.select import backend_at
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import Disturbed, UsageError
from reconciler.domain.failures import forgiven
from reconciler.domain.layout import Layout, is_of_file_manager
from reconciler.domain.machine.bandwidth import Bandwidth
from reconciler.domain.machine.facts import Facts, Memory, Traits, provider_libraries
from reconciler.domain.machine.maintenance_windows import Windows
from reconciler.domain.machine.precision_choice import Capacity, capacity
from reconciler.domain.measured import MeasurementSet
from reconciler.domain.observed import Observed, ServedFolder
from reconciler.domain.recorded import Recorded, still_on
from reconciler.domain.release import Artifact, Marker
from reconciler.engine.timetable import Timetable
from reconciler.engine.traffic import Traffic
from reconciler.host.clock import now
from reconciler.host.disk_usage import bytes_below, disk_free, disk_total
from reconciler.host.durable import is_temporary
from reconciler.host.facts import host_name, read_facts
from reconciler.host.lock import hold
from reconciler.host.memory import memory_now
from reconciler.host.ownership import make_owner, read_owner
from reconciler.host.places import installed_versions
from reconciler.host.processes import descendants, memory_of
from reconciler.host.stamps import StampBook
from reconciler.manifests.selector import labels_of
from reconciler.sources.cache import SourceCache
from reconciler.state.records import Records
from reconciler.store.artifact_store import ArtifactStore

NO_TRAITS = Traits()
NOTHING: dict[str, str] = {}
# What may lie in a folder before the first apply: a checkout's state/ holds a README.
OURS = frozenset({"README.md", ".gitignore", "lock", "lock.holder", "records", "mirror.git", "lost+found"})
# What a look at a repository leaves in sources/.
EXPORTED = re.compile(r"lock|lock\.holder|staging|trash|last-used|[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`cache` is the folder of the back end's catalog; `owner` is this root's mark ("" before the first apply)."""

    layout: Layout
    cache: str
    backend: Backend
    stamps: StampBook
    store: ArtifactStore
    records: Records
    sources: SourceCache
    traffic: Traffic
    owner: str
    traits: Traits = Traits()


def open_machine(root: str, cache: str, traits: Traits = NO_TRAITS) -> Machine:
    """Reads only: a root that does not exist yet is an empty one."""
    layout = Layout(os.path.realpath(root))
    stamps, owner = StampBook.load(layout.at("records", "stamps.json")), read_owner(layout)
    return Machine(
        layout=layout,
        cache=os.path.abspath(cache),
        backend=backend_at(os.path.abspath(cache), traits.backends),
        stamps=stamps,
        store=ArtifactStore(layout, stamps),
        records=Records(layout),
        sources=SourceCache(layout),
        traffic=_traffic(layout, traits, owner),
        owner=owner,
        traits=traits,
    )


def _traffic(layout: Layout, traits: Traits, owner: str) -> Traffic:
    return Traffic(layout, traits.bandwidth, Timetable(traits, identity_of(traits, owner)))


def identity_of(traits: Traits, owner: str) -> str:
    """The same over restarts, and another on each machine of a fleet."""
    return f"{traits.name or host_name()} {owner}"


def at_any_time(machine: Machine) -> Machine:
    """The same machine for a person, or a pipeline, that wants it now: only rate and daily budget hold."""
    limits = machine.traits.bandwidth
    bandwidth = Bandwidth(rate=limits.rate, daily=limits.daily)
    traits = replace(machine.traits, windows=Windows(), bandwidth=bandwidth)
    return replace(machine, traits=traits, traffic=_traffic(machine.layout, traits, machine.owner))


@contextlib.contextmanager
def locked_machine(
    root: str, cache: str, *, command: str, traits: Traits = NO_TRAITS, suspends: bool = False
) -> Iterator[Machine]:
    """The machine, ours to change. Draws this root's owner mark the first time. One that `suspends` may change
    suspensions and roll-backs only: they have a lock of their own, because a daemon holds the root's lock for all its
    life. Raises LockHeld."""
    layout = Layout(os.path.realpath(root))
    _refuse_foreign(layout)
    with hold(os.path.join(layout.suspended, "lock") if suspends else layout.lock, command=command):
        if not suspends:
            make_owner(layout)
        yield open_machine(root, cache, traits)


def locked_again(
    opened: Machine, *, command: str, suspends: bool = False
) -> contextlib.AbstractContextManager[Machine]:
    """What was opened without the lock, opened anew with it."""
    root = opened.layout.root
    return locked_machine(root, opened.cache, command=command, traits=opened.traits, suspends=suspends)


def machine_name(machine: Machine) -> str:
    return machine.traits.name or host_name()


def machine_labels(machine: Machine) -> dict[str, str]:
    """Those of its configuration, and its own facts."""
    return labels_of(machine_name(machine), machine.traits.labels, machine_facts(machine))


def machine_facts(machine: Machine) -> Facts:
    """With the execution providers whose libraries its configuration names, where they are."""
    facts = read_facts()
    named = {name for name, path in provider_libraries(machine.traits) if os.path.isfile(path)}
    return replace(facts, execution_providers=tuple(sorted({*facts.execution_providers, *named})))


def machine_capacity(machine: Machine) -> Capacity:
    """What it has for a model with `precisions: auto`."""
    traits, disk = machine.traits, disk_total(machine.layout.root)
    return capacity(machine_facts(machine), disk, traits.limits, traits.convert, traits.conversion_memory)


def _refuse_foreign(layout: Layout) -> None:
    """Raises UsageError for a folder that holds foreign files and was never a root: --root was mistyped."""
    names = os.listdir(layout.root) if os.path.lexists(layout.root) else ()
    left = {
        *filter(is_temporary, names),
        *filter(is_of_file_manager, names),
    }  # by a killed first apply, and by visitors
    found = {*names} - {*OURS} - left
    if _only_exports(layout.at("sources")):
        found.discard("sources")
    if found and not os.path.exists(layout.owner):
        named = ", ".join(sorted(found)[:3])
        hint = "name an empty folder or one that does not exist yet"
        if "served" in found:
            hint = f"if it was one, write its mark back: `owner` in a release.json below served/, into {layout.owner}"
        raise UsageError(f"{layout.root} is no root of reconciler, and it is not empty ({named})", hint=hint)


def _only_exports(folder: str) -> bool:
    """Whether it holds only what `plan` of a followed repository puts there, before the first apply too."""
    names = os.listdir(folder) if os.path.isdir(folder) and not os.path.islink(folder) else []
    return "lock" in names and all(EXPORTED.fullmatch(name) for name in names)


def observe(machine: Machine) -> Observed:
    """Raises CatalogBroken when the catalog cannot be read: then nothing may change."""
    registrations = machine.backend.registrations()
    artifacts = machine.store.artifacts()
    damaged = {key: damage for key, one in artifacts.items() if (damage := machine.store.damage(one))}
    damaged |= dict.fromkeys(machine.store.lost(), ("its manifest",))
    folders, occupied, unreadable = _served(machine)
    twins = twins_in(folders) if damaged else {}
    return Observed(
        owner=machine.owner,
        artifacts={key: one for key, one in artifacts.items() if key not in damaged},
        damaged_artifacts=damaged,
        mendable=frozenset(key for key in damaged if machine.store.mendable(key, twins)),
        folders=tuple(folders),
        occupied=occupied,
        unreadable=unreadable,
        registrations=registrations,
        disk_free=disk_free(machine.layout.root),
        locked_sources=machine.sources.held(),
        disk_used=bytes_below(machine.layout.root) if machine.traits.limits.disk_quota is not None else 0,
        limits=machine.traits.limits,
        memory=_memory(machine.traits),
    )


def _memory(traits: Traits) -> Memory:
    """What our own conversions hold is theirs to hold: it is free for them."""
    own = sum(map(memory_of, descendants(os.getpid())))
    total, free = memory_now()
    return Memory(total=total, free=free + own, limit=traits.conversion_memory)


def twins_in(folders: Iterable[ServedFolder]) -> dict[str, list[str]]:
    """The whole files of served folders by their digest: what a damaged blob is mended from. One that shares its bytes
    with the blob is known as damaged itself."""
    twins: dict[str, list[str]] = {}
    for folder in folders:
        broken = {one.rpartition(" ")[0] for one in folder.damage}
        for file in folder.marker.files if folder.marker is not None else ():
            if file.path not in broken:
                twins.setdefault(file.digest, []).append(os.path.join(folder.path, file.path))
    return twins


def recall(machine: Machine, observed: Observed, assumed: Mapping[str, str] = NOTHING) -> Recorded:
    """What the records hold; rebuilt from the served folders and the catalog when they are lost or damaged. `assumed`
    are versions of runtime packages to take for installed."""
    recorded = machine.records.load(
        owner=machine.owner,
        markers=[folder.marker for folder in observed.folders if folder.marker is not None],
        registrations=observed.registrations,
    )
    runtime = of_this_runtime(recorded.measured, assumed)
    return replace(
        recorded,
        suspensions=still_on(recorded.suspensions, now()),
        failures=forgiven(recorded.failures, machine.records.retries()),
        measured=runtime.known,
        runtime=runtime.installed,
        outdated=runtime.outdated,
    )


def lacks_to_compare() -> str:
    """Why a ready ONNX model, which needs no tools to be served, is not compared with its original here."""
    wanted = {"torch", "transformers", "onnxruntime-genai"}
    missing = sorted(wanted - installed_versions(wanted).keys())
    return f"{' and '.join(missing)} must be installed to compare it with its original" if missing else ""


def served_folders(machine: Machine) -> list[ServedFolder]:
    """Every `served/<variant>/<n>`; anything else in there is not ours and is left alone."""
    return _served(machine)[0]


def _served(machine: Machine) -> tuple[list[ServedFolder], dict[str, int], dict[str, str]]:
    """The folders; by variant the highest number that is taken, by a folder or not; and by variant what cannot be
    listed, with why."""
    found: list[ServedFolder] = []
    occupied, unreadable = {}, {}
    for variant in _variants(machine.layout.served):
        folder = os.path.join(machine.layout.served, variant)
        try:
            entries = _numbered(folder)
            occupied[variant] = max(entries, default=0)
            found += _inspected(machine, entries)
        except FileNotFoundError:
            continue  # it was removed meanwhile
        except OSError as error:
            unreadable[variant] = f"{folder}: {error.strerror}"
    return found, occupied, unreadable


def releases_of(machine: Machine, variant: str) -> list[ServedFolder]:
    """The folders of one variant, as `served_folders` has them."""
    try:
        return _inspected(machine, _numbered(os.path.join(machine.layout.served, variant)))
    except OSError:
        return []


def _inspected(machine: Machine, entries: Mapping[int, os.DirEntry[str]]) -> list[ServedFolder]:
    return [
        machine.backend.inspect(entry.path, machine.stamps)
        for _, entry in sorted(entries.items())
        if entry.is_dir(follow_symlinks=False)
    ]


def _variants(served: str) -> list[str]:
    try:
        with os.scandir(served) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _numbered(folder: str) -> dict[int, os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return {int(entry.name): entry for entry in entries if re.fullmatch("0|[1-9][0-9]{0,8}", entry.name)}


def stored_artifact(machine: Machine, build_key: str) -> Artifact:
    artifact = machine.store.artifacts().get(build_key)
    if artifact is None:
        raise Disturbed(f"the store holds no artifact for {build_key[:19]}", code="ArtifactMissing")
    return artifact


def assemble(machine: Machine, wanted: DesiredRelease, directory: str, *, number: int, revision: str) -> Marker:
    """Write all files of the release into `directory`, which is empty."""
    return machine.backend.assemble(
        directory,
        wanted.release,
        stored_artifact(machine, wanted.release.recipe.build_key),
        machine.store.blob,
        machine.stamps,
        owner=machine.owner,
        number=number,
        revision=revision,
        created=now(),
        protected=wanted.protected,
    )


@dataclass(frozen=True, kw_only=True)
class InstalledRuntime:
    """`known` is what was measured with the libraries that are here, `installed` their versions, `outdated` the
    releases that were measured with others, and with which."""

    known: MeasurementSet
    installed: dict[str, str]
    outdated: dict[str, dict[str, str]]


def of_this_runtime(known: MeasurementSet, assumed: Mapping[str, str] = NOTHING) -> InstalledRuntime:
    """Without the releases that were measured with other libraries than those installed now; none is loaded for that.
    Numbers of artifacts stay: the tools that made them are part of the build key. `assumed` versions count as
    installed."""
    loads = {digest: one.load.runtime for digest, one in known.releases.items() if one.load is not None}
    seen = {package for runtime in loads.values() for package in runtime}
    installed = {**installed_versions(seen - assumed.keys()), **{p: v for p, v in assumed.items() if p in seen}}
    outdated = {
        digest: runtime
        for digest, runtime in loads.items()
        if any(installed.get(package, version) != version for package, version in runtime.items())
    }
    # guard: numbers of another runtime are not judged
    kept = {digest: one for digest, one in known.releases.items() if digest not in outdated}
    return InstalledRuntime(known=replace(known, releases=kept), installed=installed, outdated=outdated)
