"""The converter's process: imports everything once, then runs each conversion as a fork of itself.

All requests (prepare, begin, poll, stop) are short, so that one worker runs several jobs and a hanging job never blocks
it. Where there is no fork (Windows) a job runs in this process while `begin` is answered: its crash ends the worker,
and it has no progress.
"""

import os
from typing import Any

from reconciler.conversion.order import NO_NETWORK, ORDER, Order
from reconciler.conversion.worker import tools
from reconciler.conversion.worker.fidelity import compare
from reconciler.conversion.worker.guard import Guard
from reconciler.conversion.worker.job import convert
from reconciler.conversion.worker.running import Running, Work, answer_of
from reconciler.conversion.worker.staging import model_config
from reconciler.host import confine
from reconciler.host.child_side import Emit, Json, serve

CAN_FORK = hasattr(os, "fork")


class ConversionWorker:
    """`work` does one conversion. Test workers need no tools."""

    def __init__(self, work: Work, *, needs_tools: bool = True) -> None:
        self._work = work
        self._needs_tools = needs_tools
        self._jobs: dict[str, Running] = {}
        self._ended: dict[str, Json] = {}
        self._guard = Guard(lambda: tuple(self._jobs.values()))

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

    def prepare(self, parameters: Json, emit: Emit) -> Json:
        if self._needs_tools:
            tools.load(*parameters["purposes"])
        return {}

    def begin(self, parameters: Json, emit: Emit) -> Json:
        order = ORDER.read(parameters["order"])
        if self._needs_tools:
            tools.check_versions(order.recipe.tools)
            tools.load(order.recipe.precision, *(["adapter"] if order.adapter else []))
            tools.load_architecture(str(model_config(order.source).get("model_type", "")))
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
        output = job.kill()
        del self._jobs[parameters["job"]]  # only now: the guard would end what it does not find here
        return output


def work(order: Order) -> dict[str, Any] | None:
    if order.compared is not None:
        return compare(order)
    convert(order)
    return None


def main() -> None:
    ConversionWorker(work).serve()


if __name__ == "__main__":
    main()
