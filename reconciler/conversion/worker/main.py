"""The converter's process: pays the imports once, then runs each conversion as a fork of itself.

Requests are short ones (prepare, begin, poll, stop), so that one worker carries several jobs and a stuck job never
makes it deaf. Where there is no fork (Windows) a job runs in this very process while `begin` is answered: there its
death is the worker's, and it has no progress.
"""

import os
from typing import Any

from reconciler.conversion.order import NO_NETWORK, ORDER, Order
from reconciler.conversion.progress import model_type
from reconciler.conversion.worker import tools
from reconciler.conversion.worker.fidelity import compare
from reconciler.conversion.worker.guard import Guard
from reconciler.conversion.worker.job import convert
from reconciler.conversion.worker.running import Running, Work, answer_of
from reconciler.host import confine
from reconciler.host.child_side import Emit, Json, serve

CAN_FORK = hasattr(os, "fork")


class ConversionWorker:
    """`work` is one conversion; only a test's liar does without the tools."""

    def __init__(self, work: Work, *, needs_tools: bool = True) -> None:
        self._work = work
        self._needs_tools = needs_tools
        self._jobs: dict[str, Running] = {}
        self._ended: dict[str, Json] = {}
        self._guard = Guard(self._jobs_now)

    def serve(self) -> None:
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

    def _jobs_now(self) -> tuple[Running, ...]:
        return tuple(self._jobs.values())

    def prepare(self, parameters: Json, emit: Emit) -> Json:
        if self._needs_tools:
            tools.load(*parameters["purposes"])
        return {}

    def begin(self, parameters: Json, emit: Emit) -> Json:
        order = ORDER.read(parameters["order"])
        if self._needs_tools:
            tools.check_versions(order.recipe.tools)
            tools.load(order.recipe.precision, *(["adapter"] if order.adapter else []))
            tools.load_architecture(model_type(order.source))
        name = order.scratch
        if CAN_FORK:
            with self._guard.forking:
                self._jobs[name] = Running(order, self._work)
            return {"pid": self._jobs[name].pid, "worker": os.getpid()}
        self._ended[name] = {"ended": {"peak_memory_bytes": 0} | answer_of(order, self._work)}
        return {}

    def poll(self, parameters: Json, emit: Emit) -> Json:
        name = parameters["job"]
        if name in self._ended:
            return self._ended.pop(name)
        state = self._jobs[name].poll()
        if "ended" in state:
            del self._jobs[name]
        return state

    def stop(self, parameters: Json, emit: Emit) -> Json:
        job = self._jobs.get(parameters["job"])
        if job is None:
            return {}
        last_words = job.kill()
        del self._jobs[parameters["job"]]
        return last_words


def work(order: Order) -> dict[str, Any] | None:
    if order.compared is not None:
        return compare(order)
    convert(order)
    return None


def main() -> None:
    ConversionWorker(work).serve()


if __name__ == "__main__":
    main()
