"""What a verb costs as a whole process, with 100 converged models, beside a bare interpreter; and a plan over 1,000.

Promised: `--help` within 0.3 s; a plan over 1,000 models within 3 s of CPU time and 150 MB; `plan` and an idle `apply`
over 100 models within 1.5 times the CPU time of an idle `terraform apply` of the same run, where terraform is
installed. By the clock terraform is faster where a second core is free, for it uses both; the table shows it
(docs/decisions/0023-what-a-plan-costs.md). With an interpreter as distributions build it: one without optimizations
takes a quarter more (docs/decisions/0061-what-a-plan-costs-by-interpreter.md).
"""

import argparse
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from shutil import which

from bench.noop_peers import peer
from bench.side_by_side import Contender, bare_python, compare, environment_of, report
from bench.world import one_source_many_models

HELP_SECONDS = 0.3
MANY = 1000
PLAN_CPU_SECONDS = 3.0
PLAN_BYTES = 150 << 20
OF_TERRAFORM = 1.5  # CPU time


def spent(contender: Contender) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds of it and its children, and the peak memory in bytes of one run."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    began = time.monotonic()
    program = [*contender.command]
    pid = os.fork()
    if pid == 0:
        os.chdir(contender.directory)
        os.dup2(nowhere, 1)
        os.execvpe(program[0], program, environment_of(contender))
    os.close(nowhere)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{contender.name} ended with {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def cpu_seconds(contenders: list[Contender], rounds: int) -> dict[str, float]:
    """Medians. They take turns, as by the clock."""
    runs = [[spent(contender)[1] for contender in contenders] for _ in range(rounds)]
    return {
        one.name: statistics.median(column) for one, column in zip(contenders, zip(*runs, strict=True), strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()} of {sys.base_prefix}: how it was compiled is worth a quarter")
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as directory:
        world = one_source_many_models(Path(directory, "few"), arguments.models)
        print(f"apply over {arguments.models} models: {world.reconciler('apply', '--quiet').run():.1f} s")
        plan = world.reconciler("plan", "--detailed-exitcode")  # exits 2, and so ends here, if not converged
        verbs = [world.reconciler("--help"), world.reconciler("validate"), world.reconciler("status"), plan]
        bare = bare_python(world.directory)
        again = replace(world.reconciler("apply", "--quiet"), name="reconciler apply (nothing to do)")
        peers = [peer("terraform", Path(directory, "terraform"), arguments.models)] * bool(which("terraform"))
        timings = compare([bare, *verbs, again, *peers], arguments.rounds)
        report("startup", timings, bare.name)
        many = one_source_many_models(Path(directory, "many"), MANY)
        quickest = min(spent(world.reconciler("--help"))[0] for _ in range(arguments.rounds))
        _, cpu, peak = spent(many.reconciler("plan"))
        print(f"--help: {quickest:.2f} s (promised {HELP_SECONDS})")
        print(f"plan over {MANY} models: {cpu:.2f} s of CPU (promised {PLAN_CPU_SECONDS}), {peak >> 20} MiB")
        used = cpu_seconds([plan, again, *peers], arguments.rounds)
        print("CPU time: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in used.items()))
        most = OF_TERRAFORM * used.get("terraform", math.inf)
        dearer = [name for name, seconds in used.items() if seconds > most]
        if dearer:
            print(f"more than {OF_TERRAFORM} times terraform's CPU time: {', '.join(dearer)}")
        if dearer or quickest > HELP_SECONDS or cpu > PLAN_CPU_SECONDS or peak > PLAN_BYTES:
            raise SystemExit("a promise is broken")


if __name__ == "__main__":
    main()
