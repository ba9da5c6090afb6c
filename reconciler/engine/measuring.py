"""What gates ask for and takes long (fidelity, speed, endurance), measured beside the passes (engine.job_queue).

Begun in a pass's thread: the candidate is put together, what is known is read. Then measured in a thread, in a runtime
of its own on a throw-away catalog. Then kept and judged, in a pass's thread again. A release that serves already is
measured where it lies.
"""

import os

from reconciler.backends.protocol import ServingRuntime
from reconciler.conversion.client.job_client import Attempt
from reconciler.domain.changes import Measure, MeasureServed
from reconciler.domain.errors import ConversionFailed, ConverterLost, PermanentError
from reconciler.domain.measured import Fidelity, Measured
from reconciler.engine.candidate_check import rejected, require
from reconciler.engine.executor import assemble_release
from reconciler.engine.job import Job
from reconciler.engine.pass_context import PassContext
from reconciler.gates.judgement import missing_measurements, needed
from reconciler.gates.rehearsal import Rehearsal
from reconciler.host import durable

UNMEASURED = "`fidelity: {skip: <why>}` in its gates does without"


class Measuring:
    """One release. `begin`, `keep` and `require` in a pass's thread, `run` in another."""

    def __init__(self, change: Measure, context: PassContext, home: str) -> None:
        self._change, self._execution, self._home = change, context, home
        self._wanted = context.wanted(change.variant)
        release, known = self._wanted.release, context.known()
        held = known.releases.get(release.digest)
        self._fidelity = known.fidelity.get(release.recipe.build_key)
        self._measured = held or Measured(release=release.digest, build_key=release.recipe.build_key)
        rest = missing_measurements if isinstance(change, MeasureServed) else needed
        self._rest = rest(self._wanted.gates, self._fidelity, held)
        self._new: list[Fidelity | Measured] = []
        self._folder = self._candidate()

    def run(self, job: Job) -> None:
        """In the order of the gates; one that fails early is not tried to the end."""
        if self._rest.fidelity:
            self._fidelity = self._compared(job)
            self._new.append(self._fidelity)
        if self._rest.in_runtime and not self._rejected():
            self._rehearse(job)

    def keep(self) -> None:
        """What was measured, also when something failed after it; and the candidate goes."""
        records = self._execution.machine.records
        for found in self._new:
            if isinstance(found, Measured):
                records.save_measured(found)
            else:
                records.save_fidelity(found)
        self._remove_candidate()

    def require(self) -> None:
        """Raises GateFailed for a candidate. What serves goes on: the next plan says what is wrong with it."""
        if not isinstance(self._change, MeasureServed):
            require(self._wanted, self._fidelity, self._measured)

    def _candidate(self) -> str:
        machine = self._execution.machine
        if isinstance(self._change, MeasureServed):
            return machine.layout.served_release(self._change.variant, self._change.number)
        folder = os.path.join(self._home, "candidate")
        durable.make_folder(folder)
        assemble_release(self._change, self._execution, folder)
        return folder

    def _remove_candidate(self) -> None:
        """File by file, so that the store's names of the same bytes need not be read again."""
        if isinstance(self._change, MeasureServed):
            return
        for folder, _, names in os.walk(self._folder):
            for name in names:
                self._execution.machine.stamps.remove(os.path.join(folder, name))

    def _rejected(self) -> bool:
        return bool(rejected(self._wanted, self._fidelity, self._measured))

    def _compared(self, job: Job) -> Fidelity:
        """What cannot be compared is not served: nobody would know what it says."""
        source = self._execution.source(self._change.build_key)
        attempt = Attempt()
        job.when_cancelled(attempt.cancel)
        job.progressed(0.0, "comparing it with its source")
        try:
            return job.team.converter.compare(
                source.recipe,
                source.path,
                self._folder,
                adapter=source.adapter,
                timeout=job.team.options.conversion_timeout,
                attempt=attempt,
            )
        except (ConversionFailed, ConverterLost) as error:
            said = f"it could not be compared with its source: {error}"
            # What was killed lacked memory, most likely, and that may come back.
            kind = ConverterLost if isinstance(error, ConverterLost) else PermanentError
            raise kind(said, code="FidelityUnmeasured", hint=f"{error.hint}; {UNMEASURED}") from None

    def _runtime(self, job: Job, catalog: str, scratch: str, log: str) -> ServingRuntime:
        """It comes back after a crash, but not once the job is cancelled."""
        options = job.team.options
        if options.make_runtime is not None:
            return options.make_runtime(catalog, scratch, log)
        return self._execution.machine.backend.at(catalog).runtime(
            scratch=scratch, log=log, confined=options.cage != "off", is_cancelled=lambda: job.cancelled
        )

    def _rehearse(self, job: Job) -> None:
        catalog = os.path.join(self._home, "catalog")
        durable.make_folder(catalog)
        logs = self._execution.machine.layout.logs
        durable.make_folder(logs)  # somebody may have tidied it away
        scratch, log = os.path.join(self._home, "runtime"), os.path.join(logs, "measuring.log")
        runtime = self._runtime(job, catalog, scratch, log)
        job.when_cancelled(runtime.kill)
        job.progressed(0.3, "measuring it in the runtime that will serve it")
        name = f"{self._change.variant}:{self._change.number}"
        with Rehearsal(runtime) as rehearsal:
            for found in rehearsal.prove(self._folder, name, self._rest.in_runtime, self._measured):
                self._measured = found
                self._new.append(found)
                if self._rejected():
                    return
