"""Carries out one change: act, then observe again. It succeeds when the second observation shows it; else it raises
`Disturbed`, and the next plan starts from what is there.

The order inside a release: assemble in staging, rehearse there, publish the folder, register it, record it, and only
then retire the predecessor. A process that dies between any two steps leaves a state that the next plan can repair.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from reconciler.domain.changes import (
    Change,
    MeasureCandidate,
    PruneArtifact,
    PruneSource,
    PruneVariant,
    Register,
    RepairArtifact,
    RepairRelease,
    Retire,
    VerifyCandidate,
    VerifyServed,
)
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import Disturbed, GateFailed, PermanentError
from reconciler.domain.history import taken_back
from reconciler.domain.machine.trust import Origin
from reconciler.domain.measured import Fidelity, Measured, MeasurementSet
from reconciler.domain.observed import Registration, properties_of
from reconciler.domain.release import Artifact, Marker, Release
from reconciler.engine.machine import Machine, assemble, served_folders, stored_artifact, twins_in
from reconciler.engine.pass_context import PassContext
from reconciler.engine.quarantine import quarantine_folder
from reconciler.engine.record_writer import record_release, record_served, remember_retired
from reconciler.engine.trust import is_refused, stored_digests
from reconciler.gates.judgement import judge_release, needed, rejection_text, ways_out
from reconciler.host import durable
from reconciler.host.ownership import make_plain


def carry_out(change: Change, context: PassContext) -> None:
    """One change that is no long work (engine.job_queue has that). Raises ReconcilerError."""
    _STEPS[type(change)](change, context)


def store_conversion(build_key: str, tree: str, context: PassContext) -> None:
    machine = context.machine
    recipe = context.source(build_key).recipe.as_json()
    artifact = machine.store.put(build_key, tree, recipe, anew=is_refused(machine, build_key))
    accept_artifact(artifact, machine)
    machine.records.forget_origin(artifact.digest)


def take_in(origin: Origin, manifest: bytes, folder: str, machine: Machine, *, again: str) -> Artifact:
    """What another machine built, from a folder with its blobs. Raises Disturbed; `again` says what then happens."""
    # First: an artifact without an origin counts as one of this machine.
    machine.records.save_origin(origin, stored_digests(machine))
    try:
        artifact = machine.store.take_in(manifest, folder, anew=is_refused(machine, origin.build_key))
    except FileNotFoundError:
        raise Disturbed(f"a blob that the store held is gone: {again}", code="ArtifactDamaged") from None
    accept_artifact(artifact, machine)
    return artifact


def accept_artifact(artifact: Artifact, machine: Machine) -> None:
    """One that the store has just taken. Raises Disturbed where it is not whole."""
    if damage := machine.store.damage(artifact):
        raise Disturbed(f"the stored artifact is damaged: {', '.join(damage)}", code="ArtifactDamaged")
    machine.records.save_artifact(artifact.build_key, artifact.digest)


def _verify(change: VerifyCandidate, context: PassContext) -> None:
    require_compared(context.wanted(change.variant), context)
    staged = context.fresh_staging()
    marker = assemble_release(change, context, staged)
    prove(context.wanted(change.variant), staged, marker.id, context)
    context.staged[change.variant] = (staged, marker)


def _verify_served(change: VerifyServed, context: PassContext) -> None:
    """The folder that serves is itself rehearsed; it goes on serving meanwhile."""
    served = context.machine.layout.served_release(change.variant, change.number)
    prove(context.wanted(change.variant), served, change.id, context)


def assemble_release(
    change: MeasureCandidate | VerifyCandidate | RepairRelease, context: PassContext, directory: str
) -> Marker:
    wanted, revision = context.wanted(change.variant), context.resolution.desired.revision
    return assemble(context.machine, wanted, directory, number=change.number, revision=revision)


def _register(change: Register, context: PassContext) -> None:
    staged, marker = context.staged.pop(change.variant)
    machine = context.machine
    final = machine.layout.served_release(change.variant, change.number)
    # order: a number is recorded, then seen 1/2
    machine.records.save_number(change.variant, change.number)  # it is never given again
    _clear_the_way(final, machine)
    durable.publish(staged, final)
    _name(marker, final, context)


def _name(marker: Marker, path: str, context: PassContext) -> None:
    """Register a whole folder, check that the catalog lists it, and record it."""
    _require_whole(marker, context)
    # order: a number is recorded, then seen 2/2
    # order: a release is registered, then recorded 1/2
    # order: a release is registered, then in the history 1/2
    with _refusals_of_the_catalog():
        # Its owner is ours: a folder with another owner's marker is mended first.
        context.workers.serving.register(path, marker.id, properties_of(marker))
    entry = _entry(marker.id, context.machine)
    if entry is None or entry.path != path:
        raise Disturbed(f"{marker.id} is not in the catalog after registration", code="NotRegistered")
    if entry.damage:
        raise Disturbed(f"{marker.id} is not whole after registration: {entry.damage[0]}", code="NotRegistered")
    # order: a release is registered, then recorded 2/2
    # order: a release is registered, then in the history 2/2
    record_served(marker, context.wanted(marker.variant).release, context.machine)


def _entry(identity: str, machine: Machine) -> Registration | None:
    return next((one for one in machine.backend.registrations() if one.id == identity), None)


@contextlib.contextmanager
def _refusals_of_the_catalog() -> Iterator[None]:
    """A refusal of the catalog is about its other entries, never about the release, which was rehearsed: temporary."""
    try:
        yield
    except PermanentError as error:
        raise Disturbed(str(error), code=error.code, hint=error.hint) from error


def _require_whole(marker: Marker, context: PassContext) -> None:
    path = context.machine.layout.served_release(marker.variant, marker.number)
    folder = context.machine.backend.inspect(path, context.machine.stamps)
    if folder.damage or folder.marker is None or folder.marker.release != marker.release:
        damage = ", ".join(folder.damage) or "release.json"
        raise Disturbed(f"{path} is not whole: {damage}", code="ServedFolderDamaged")


def _repair(change: RepairRelease, context: PassContext) -> None:
    """File by file, so that what is whole goes on serving meanwhile."""
    machine = context.machine
    final = machine.layout.served_release(change.variant, change.number)
    marker = _mend_folder(change, context, final)
    entry = _entry(marker.id, machine)
    if entry is not None:
        if entry.owner != machine.owner:
            raise Disturbed(f"{marker.id} has been registered by another program meanwhile", code="NameTaken")
        as_it_was = entry.path == final and entry.release == marker.release
        if as_it_was and not entry.damage:
            _require_whole(marker, context)
            record_release(marker, machine)
            return
        if not as_it_was:  # else what is damaged is mended in its place, and serves meanwhile
            with _refusals_of_the_catalog():
                context.workers.serving.unregister(marker.id)
    _name(marker, final, context)


def _mend_artifact(change: RepairArtifact, context: PassContext) -> None:
    """Blob by blob, from served files, which are not touched."""
    store = context.machine.store
    store.mend(change.build_key, twins_in(served_folders(context.machine)))
    if damage := store.damage(
        stored_artifact(context.machine, change.build_key)
    ):  # found once its manifest was mended: not planned
        raise Disturbed(f"there is more damage: {', '.join(damage)}", code="ArtifactDamaged")


def _mend_folder(change: RepairRelease, context: PassContext, final: str) -> Marker:
    machine = context.machine
    _clear_the_way(final, machine)
    exists = os.path.isdir(final)
    if exists:
        folder, wanted = machine.backend.inspect(final, machine.stamps), context.wanted(change.variant)
        marker = folder.marker if not folder.damage else None
        if marker and marker.owner == machine.owner and marker.release == wanted.release.digest:
            return marker
    staged = context.fresh_staging()
    marker = assemble_release(change, context, staged)
    if exists:
        durable.replace_files(staged, final, quarantine_folder(machine.layout), machine.stamps.move)
    else:
        durable.publish(staged, final)
    return marker


def _clear_the_way(path: str, machine: Machine) -> None:
    """A link or a file in the place of our folder is moved to quarantine; what a link leads to is not touched."""
    make_plain(machine.layout.root, path, quarantine_folder(machine.layout))


def _retire(change: Retire, context: PassContext) -> None:
    machine, instead = context.machine, change.serves_instead
    serves, why = (instead.number, instead.message) if instead is not None else (0, "")
    if serves and serves < change.number:  # order: a predecessor is recorded, then its successor goes 1/2
        _record_again(change.variant, serves, machine)
    # order: the reason is recorded, then the release goes 1/2
    if why:  # now, because no plan names it once its registration is gone
        machine.records.change_history(change.variant, partial(taken_back, number=change.number, why=why))
    # order: a release goes, then it is retired in the history 1/2
    # order: a predecessor is recorded, then its successor goes 2/2
    # order: the reason is recorded, then the release goes 2/2
    _remove_release(change.variant, change.number, context)
    # order: a release goes, then it is retired in the history 2/2
    remember_retired(change.variant, change.number, machine, serving=serves)


def _record_again(variant: str, number: int, machine: Machine) -> None:
    """A predecessor that is still there serves again as soon as its successor goes."""
    marker = machine.backend.inspect(machine.layout.served_release(variant, number), machine.stamps).marker
    if marker is not None:
        record_release(marker, machine)


def _prune(change: PruneVariant, context: PassContext) -> None:
    for number in change.numbers:  # order: a release goes, then its record 1/2
        _remove_release(change.variant, number, context)
        remember_retired(change.variant, number, context.machine)
    context.machine.records.forget_release(change.variant)  # order: a release goes, then its record 2/2


def _remove_release(variant: str, number: int, context: PassContext) -> None:
    """The registration goes before the folder: the catalog never lists a folder that is half gone."""
    machine = context.machine
    identity, path = f"{variant}:{number}", machine.layout.served_release(variant, number)
    _clear_the_way(path, machine)  # guard: a link in the place of a folder is moved, not entered
    # guard: a registration is taken away only with our mark on it
    registered = any(r.id == identity and r.owner == machine.owner for r in machine.backend.registrations())
    marker = machine.backend.inspect(path, machine.stamps).marker if os.path.isdir(path) else None
    if registered:  # order: a name goes, then its folder 1/2
        context.workers.serving.unregister(identity)
    # order: a name goes, then its folder 2/2
    if marker is not None and marker.owner == machine.owner:  # guard: a folder goes only with our mark in it
        durable.free(durable.unname(path, machine.layout.trash), machine.stamps.remove)
    elif marker is None and os.path.isdir(path):  # planned, so a record or a registration shows that it was ours
        durable.unname(path, quarantine_folder(machine.layout))
    machine.records.save_number(variant, number)
    entry = _entry(identity, machine)
    if (entry is not None and entry.owner == machine.owner) or os.path.lexists(path):
        raise Disturbed(f"{identity} is still there after its removal", code="NotRemoved")


def _free(change: PruneArtifact, context: PassContext) -> None:
    """Raises Disturbed if a release still uses it, because it could not be replaced."""
    folders = served_folders(context.machine)
    if any(f.marker is not None and f.marker.build_key == change.build_key for f in folders):
        raise Disturbed("a served release still uses the artifact", code="StillReferenced")
    context.machine.store.remove(change.build_key)


def prove(wanted: DesiredRelease, staged: str, name: str, context: PassContext) -> None:
    """Rehearse a candidate as far as that is quick, and judge it. What takes long has been measured by a job before
    (engine.jobs), and nothing is measured twice. `staged` is its folder, `name` its name in the rehearsal. Each
    measurement is recorded and judged at once: the first failure ends it. Raises GateFailed, or RehearsalFailed when it
    does not even answer."""
    release, gates, known = wanted.release, wanted.gates, context.known()
    fidelity, held = known.fidelity.get(release.recipe.build_key), known.releases.get(release.digest)
    if held is None and (held := _measured_as_another(release, known, context)) is not None:
        context.machine.records.save_measured(held)
    require(wanted, fidelity, held)
    held = held or Measured(release=release.digest, build_key=release.recipe.build_key)
    rest = needed(gates, fidelity, held).in_runtime
    reference = context.machine.records.reference(held.build_key) if rest else None
    rehearsal = context.workers.rehearsal
    proved = rehearsal.prove(
        staged, name, rest, held, wanted.boundaries, reference, task=release.task, alive=context.alive
    )
    for measured in proved if rest else ():
        held = measured
        context.machine.records.save_measured(held)
        require(wanted, fidelity, held)
    require(wanted, fidelity, held)


def _measured_as_another(release: Release, known: MeasurementSet, context: PassContext) -> Measured | None:
    """What was measured of the same content under another name: its files differ in nothing that the runtime reads. A
    hundred names of one model are rehearsed once."""
    others = (one.release for one in context.resolution.desired.wanted)
    twins = (one for one in others if one.digest in known.releases and one.parts == release.parts)
    twin = next(twins, None)
    return replace(known.releases[twin.digest], release=release.digest) if twin is not None else None


def require_compared(wanted: DesiredRelease, context: PassContext) -> None:
    """A candidate must have been compared with its source: the plan has that measured first."""
    fidelity = context.machine.records.measured().fidelity.get(wanted.release.recipe.build_key)
    if needed(wanted.gates, fidelity, None).fidelity:
        raise Disturbed("it was not compared with its source, or the numbers were lost", code="NumbersLost")


def rejected(wanted: DesiredRelease, fidelity: Fidelity | None, measured: Measured | None) -> str:
    """Why these numbers fail the gates, each beside its bar; "" when they do not."""
    return rejection_text(judge_release(wanted.gates, wanted.release, fidelity, measured))


def require(wanted: DesiredRelease, fidelity: Fidelity | None, measured: Measured | None) -> None:
    verdicts = judge_release(wanted.gates, wanted.release, fidelity, measured)
    if why := rejection_text(verdicts):
        raise GateFailed(why, hint=ways_out(verdicts))


_STEPS: dict[type[Change], Callable[[Any, PassContext], None]] = {
    VerifyCandidate: _verify,
    VerifyServed: _verify_served,
    Register: _register,
    RepairRelease: _repair,
    RepairArtifact: _mend_artifact,
    Retire: _retire,
    PruneVariant: _prune,
    PruneArtifact: _free,
    PruneSource: lambda change, context: context.machine.sources.free(change.build_key),
}
