"""The kinds of long work: ConversionJob, DownloadJob, and MeasurementJob for what gates ask for and takes long
(fidelity, speech, speed, endurance)."""

import os
from contextlib import suppress
from dataclasses import replace
from typing import Any

from reconciler.conversion.client.job_client import Attempt
from reconciler.conversion.toolchain import TOOLS
from reconciler.domain.changes import Convert, FetchSource, Measure, MeasureServed
from reconciler.domain.desired import Desired
from reconciler.domain.errors import Cancelled, ConversionFailed, ConverterLost, DiskFull, PermanentError
from reconciler.domain.machine.registries import LOCAL, PREFER_REGISTRY
from reconciler.domain.measured import Measured, unmeasured
from reconciler.domain.reference import Comparison
from reconciler.domain.text.units import size_text
from reconciler.engine.executor import assemble_release, rejected, require, store_conversion
from reconciler.engine.job import Job
from reconciler.engine.machine import lacks_to_compare, stored_artifact
from reconciler.engine.pass_context import make_runtime
from reconciler.engine.registries import builders_numbers
from reconciler.engine.remote_sources.kinds import REMOTES, RemoteAccess
from reconciler.engine.resolve import Source
from reconciler.engine.source_trust import SourceTrust
from reconciler.gates.judgement import missing_measurements, needed
from reconciler.gates.runtime import Rehearsal
from reconciler.host import durable
from reconciler.host.disk_usage import disk_free
from reconciler.planner.plan_steps import RESERVE
from reconciler.sources.download import Download
from reconciler.sources.folder.taking import take_files

LARGER_THAN_PREDICTED, SMALL_FILES_BYTES = 4, 1 << 30  # of what a conversion may write
UNMEASURED = "`fidelity: {skip: <why>}` in its gates does without"


class ConversionJob(Job[Convert]):
    _comparison: Comparison | None = None

    def work(self) -> None:
        source = self.context.source(self.change.build_key)
        if source.recipe.as_is:
            self.progressed(0.0, "taking it as it is")
            take_files(source.path, source.files, self._tree, self._copied)
            return
        attempt = Attempt()
        self.when_cancelled(attempt.cancel)
        self.progressed(0.0, "starting Olive, its imports take some seconds")
        self.team.converter.convert(
            source.recipe,
            source.path,
            self._tree,
            adapter=source.adapter,
            on_progress=self.progressed,
            timeout=self.team.options.conversion_timeout,
            disk=LARGER_THAN_PREDICTED * self.change.cost.peak_disk_bytes + SMALL_FILES_BYTES,
            attempt=attempt,
        )
        if _asks_fidelity(self.context.resolution.desired, self.change.build_key):
            self.progressed(1.0, "comparing it with its source")
            # The artifact is as good without it; its releases are then measured or held (engine.executor).
            with suppress(ConversionFailed, ConverterLost):
                self._comparison = compare(self, self._tree, attempt, done=1.0)

    def take(self) -> None:
        source = self.context.source(self.change.build_key)
        for file in source.files:  # compared while they were copied
            self.context.machine.stamps.vouch(os.path.join(self._tree, file.path), file.digest)
        store_conversion(self.change.build_key, self._tree, self.context)
        if source.files:
            self._forget_fetched(source)
        if self._comparison is not None:
            self.context.machine.records.save_comparison(self._comparison)

    def _copied(self, done: int, total: int) -> None:
        if self.cancelled:
            raise Cancelled("it was cancelled", delay=0)
        self.progressed(done / total if total else 1.0, f"taking it as it is: {size_text(done)} of {size_text(total)}")

    def _forget_fetched(self, source: Source) -> None:
        """The store has what was fetched only for it: weights lie once. What is known of the source stays."""
        machine, held = self.context.machine, self.context.machine.store.artifacts()
        others = self.context.resolution.sources.items()
        if source.remote is not None and all(key in held for key, one in others if one.path == source.path):
            machine.sources.free_files(source.remote.digest)

    @property
    def _tree(self) -> str:
        return os.path.join(self.folder, "tree")


def _asks_fidelity(desired: Desired, build_key: str) -> bool:
    """Does any release of this artifact have to be compared with its source?"""
    asking = (one.gates for one in desired.wanted if one.release.recipe.build_key == build_key)
    return any(needed(gates, None, None).fidelity for gates in asking)


class DownloadJob(Job[FetchSource]):
    """Writes nothing but the cache's partial folder, where every file is compared with the lock."""

    def work(self) -> None:
        source, machine = self.change.source, self.context.machine
        self.progressed(0.0, f"asking for {source}")
        _require_room(self.change.cost.download_bytes, machine.layout.root)
        folder = machine.sources.begin(source)
        token_file = self.team.options.token_files.get(source.kind, "")  # read now: it may have been renewed
        home, log = os.path.join(self.folder, "fetch"), machine.layout.at("logs", "hub.log")
        mirror = machine.layout.at("mirror.git")
        known = machine.traits.registries
        to = RemoteAccess(token_file=token_file, home=home, log=log, registries=known, mirror=mirror)
        with REMOTES[source.kind].open(to) as remote:
            self.when_cancelled(remote.cancel)
            meter = machine.traffic.meter(urgent=self.change.urgent, is_cancelled=lambda: self.cancelled)
            trust = SourceTrust.of(machine)
            try:
                Download(
                    remote,
                    source,
                    folder,
                    self.progressed,
                    meter,
                    lambda: trust.require(source, folder),
                    wants_signature=trust.wants(source),
                ).run()
            finally:
                machine.traffic.settle()

    def take(self) -> None:
        machine = self.context.machine
        machine.sources.publish(self.change.source, machine.stamps)


def _require_room(missing: int, root: str) -> None:
    """The plan asked too; since then something else may have grown."""
    free = disk_free(root)
    if missing + RESERVE > free:
        message = f"the download needs {size_text(missing + RESERVE)}, {size_text(free)} are free"
        raise DiskFull(message, hint="free some space, or choose another file system with --root")


class MeasurementJob(Job[Measure]):
    """Of one release, in a runtime of its own on a catalog that is thrown away. A candidate is assembled for it; a
    release that serves already is measured where it lies."""

    at_once = 1
    _candidate = ""  # "": what serves is measured
    _new: tuple[Comparison | Measured, ...] = ()

    def begin(self) -> None:
        self._wanted = self.context.wanted(self.change.variant)
        release, known = self._wanted.release, self.context.known()
        held = known.releases.get(release.digest)
        self._reference = self.context.machine.records.reference(release.recipe.build_key)
        self._fidelity = known.fidelity.get(release.recipe.build_key)
        self._measured = held or Measured(release=release.digest, build_key=release.recipe.build_key)
        if isinstance(self.change, MeasureServed):
            self._rest = missing_measurements(self._wanted.gates, self._fidelity, held)
            self._folder = self.context.machine.layout.served_release(self.change.variant, self.change.number)
            return
        self._rest = needed(self._wanted.gates, self._fidelity, held)
        self._folder = self._candidate = os.path.join(self.folder, "candidate")
        durable.make_folder(self._candidate)
        assemble_release(self.change, self.context, self._candidate)

    def work(self) -> None:
        """In the order of the gates; one that fails early is not tried to the end."""
        self.progressed(0.0, "starting")
        if self._rest.fidelity:
            compared = self._compared()
            self._fidelity, self._reference = compared.fidelity, compared.reference
            self._new += (compared,)
        if self._rest.in_runtime and not self._rejected():
            self._rehearse()

    def keep(self) -> None:
        """What was measured, also when something failed after it. The candidate goes file by file, so that the store's
        names of the same bytes need not be read again."""
        machine = self.context.machine
        for found in self._new:
            if isinstance(found, Measured):
                machine.records.save_measured(found)
            else:
                machine.records.save_comparison(found)
        for folder, _, names in os.walk(self._candidate):
            for name in names:
                machine.stamps.remove(os.path.join(folder, name))

    def take(self) -> None:
        """Raises GateFailed for a candidate. What serves goes on: the next plan says what is wrong with it."""
        if self._candidate:
            require(self._wanted, self._fidelity, self._measured)

    def _rejected(self) -> bool:
        return bool(rejected(self._wanted, self._fidelity, self._measured))

    def _compared(self) -> Comparison:
        if (known := self._from_builder()) is not None:
            return known
        attempt = Attempt()
        self.when_cancelled(attempt.cancel)
        if lacking := self._lacks_to_compare():
            return Comparison(fidelity=unmeasured(self.change.build_key, lacking))
        self.progressed(0.0, "comparing it with its source")
        try:
            return compare(self, self._folder, attempt)
        except (ConversionFailed, ConverterLost) as error:
            message = f"it could not be compared with its source: {error}"
            # What was killed lacked memory, most likely, and that may come back.
            kind = ConverterLost if isinstance(error, ConverterLost) else PermanentError
            raise kind(message, code="FidelityUnmeasured", hint=f"{error.hint}; {UNMEASURED}") from None

    def _lacks_to_compare(self) -> str:
        """It was not fetched where the plan knew that it cannot be compared."""
        if self.context.source(self.change.build_key).original is None:
            return ""
        return lacks_to_compare() or ("its original is not here" if self._wanted.original is not None else "")

    def _from_builder(self) -> Comparison | None:
        """The builder's numbers, where this machine pulls. Where it may not convert, or the source or the original is
        not here, there are no others: then a record that says so."""
        machine, key, wanted = self.context.machine, self.change.build_key, self._wanted
        if machine.traits.convert == LOCAL and wanted.source_is_here:
            return None
        self.progressed(0.0, "asking for its builder's numbers")
        found = builders_numbers(machine, key, stored_artifact(machine, key).digest)
        is_comparable = wanted.source_is_here and wanted.fetch is None and wanted.original is None
        if found is not None or (machine.traits.convert == PREFER_REGISTRY and is_comparable):
            return found
        why = "no numbers came with it from its builder, and this machine does not compare it with its source"
        return Comparison(fidelity=unmeasured(key, why))

    def _rehearse(self) -> None:
        catalog, scratch = (os.path.join(self.folder, name) for name in ("catalog", "runtime"))
        runtime = make_runtime(
            self.context.machine,
            self.team.options,
            catalog,
            scratch,
            "measuring",
            is_cancelled=lambda: self.cancelled,  # it comes back after a crash, but not then
        )
        self.when_cancelled(runtime.kill)
        self.progressed(0.3, "measuring it in the runtime that will serve it")
        name = f"{self.change.variant}:{self.change.number}"
        with Rehearsal(runtime) as rehearsal:
            gates, boundaries = self._rest.in_runtime, self._wanted.boundaries
            for found in rehearsal.prove(
                self._folder, name, gates, self._measured, boundaries, self._reference, task=self._wanted.release.task
            ):
                self._measured = found
                self._new = (*(one for one in self._new if isinstance(one, Comparison)), found)  # it holds those before
                if self._rejected():
                    return


def compare(job: Job[Any], artifact: str, attempt: Attempt, *, done: float = 0.0) -> Comparison:
    """The converter's worker compares an artifact's folder with the source that it was made from. `done` is how far the
    job is, of which this is a step."""
    source = job.context.source(job.change.build_key)
    recipe, path = source.recipe, source.path
    if source.original is not None:
        recipe, path = replace(recipe, source=source.original.digest, tools=TOOLS), source.original.path
    found = job.team.converter.compare(
        recipe,
        path,
        artifact,
        adapter=source.adapter,
        on_progress=lambda fraction, text: job.progressed(done, text),
        timeout=job.team.options.conversion_timeout,
        attempt=attempt,
    )
    key = source.recipe.build_key
    reference = replace(found.reference, build_key=key) if found.reference is not None else None
    return Comparison(fidelity=replace(found.fidelity, build_key=key), reference=reference)
