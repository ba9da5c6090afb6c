"""The converter's process: imports everything once, then runs each conversion as a fork of itself, or where that cannot
be in a new process (`spawned`).

All requests (prepare, begin, poll, stop) are short, so that one worker runs several jobs and a hanging job never blocks
it.
"""

import os
import sys
from typing import Any

from reconciler.conversion.order import NO_NETWORK, ORDER, Order
from reconciler.conversion.worker import tools
from reconciler.conversion.worker.fidelity import compare
from reconciler.conversion.worker.guard import Guard
from reconciler.conversion.worker.job import convert
from reconciler.conversion.worker.running import JobProcess, Running, Work, answer_of, confined
from reconciler.conversion.worker.spawned import JOB, Spawned, be_the_job, module_of_this_process
from reconciler.conversion.worker.staging import model_config
from reconciler.host import confine, system
from reconciler.host.child_side import Emit, Json, serve


class ConversionWorker:
    """`work` does one conversion. Test workers need no tools."""

    def __init__(self, work: Work, *, needs_tools: bool = True, forks: bool = system.FORKS) -> None:
        self._work = work
        self._needs_tools = needs_tools
        self._forks = forks
        self._jobs: dict[str, Running] = {}
        self._guard = Guard(lambda: tuple(self._jobs.values()))

    def serve(self) -> None:
        if sys.argv[1:] == [JOB]:
            be_the_job(lambda order: answer_of(order, self._work_from_the_start))
        if os.environ.pop(NO_NETWORK, ""):
            confine.leave_network()
        confine.stay_private()
        confine.adopt_orphans()
        self._guard.start()
        try:
            serve({"prepare": self.prepare, "begin": self.begin, "poll": self.poll, "stop": self.stop})
        finally:
            for job in self._jobs.values():
                job.kill()
            self._guard.stop()

    def prepare(self, parameters: Json, emit: Emit) -> Json:
        if self._needs_tools and self._forks:
            tools.load(*parameters["purposes"])
        return {}

    def begin(self, parameters: Json, emit: Emit) -> Json:
        order = ORDER.read(parameters["order"])
        if self._forks:
            self._load_tools(order)
        name = order.scratch
        with self._guard.forking:
            process = self._started(order)
            self._jobs[name] = Running(order, process)
        return {"pid": process.pid, "worker": os.getpid()}

    def _started(self, order: Order) -> JobProcess:
        if self._forks and sys.platform != "win32":
            from reconciler.conversion.worker.forked import Forked  # it does not load on Windows

            return Forked(order, self._work)
        return Spawned(order, module_of_this_process())

    def poll(self, parameters: Json, emit: Emit) -> Json:
        name = parameters["job"]
        state = self._jobs[name].poll()
        if "ended" in state:
            del self._jobs[name]
        return state

    def stop(self, parameters: Json, emit: Emit) -> Json:
        job = self._jobs.get(parameters["job"])
        if job is None:
            return {}
        output = job.kill()
        del self._jobs[parameters["job"]]  # only now: the guard would end what it does not find here
        return output

    def _load_tools(self, order: Order) -> None:
        if self._needs_tools:
            tools.check_versions(order.recipe.tools)
            tools.load(order.recipe.precision, *(["adapter"] if order.adapter else []))
            tools.load_architecture(str(model_config(order.source).get("model_type", "")))

    def _work_from_the_start(self, order: Order) -> dict[str, Any] | None:
        self._load_tools(order)
        return confined(order, self._work)


def work(order: Order) -> dict[str, Any] | None:
    if order.compared is not None:
        return compare(order)
    convert(order)
    return None


def main() -> None:
    ConversionWorker(work).serve()


if __name__ == "__main__":
    main()
