"""Run the fuzzer: `python -m tests.fuzz [--executions N] [--seconds S] [--seed S] [TARGET...]`.

Targets take turns by their shares, so that a run that is cut short has seen all of them. A finding is printed with what
makes it again; the exit code is 1 when there is one. With RECONCILER_TRUST_RESULTS the figure is recorded.
"""

import argparse
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from types import FrameType

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS
from tests.trust import record

PATIENCE = 10  # CPU seconds for one input: on a busy machine others take the time. The slowest takes milliseconds


class Hang(BaseException):
    """Not an Exception, so that no target takes it for its own."""


@dataclass
class Found:
    executions: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.executions.values())


def fuzz(names: list[str], *, executions: int, seconds: float = float("inf"), seed: int = 0, most: int = 20) -> Found:
    """Input number n of a target depends on the seed, the target and n alone."""
    found = Found()
    turns = [name for name in names for _ in range(TARGETS[name].share)]
    before = signal.signal(signal.SIGPROF, _too_long)
    began = time.process_time()
    try:
        while found.total < executions and time.process_time() - began < seconds and len(found.findings) < most:
            for name in turns:
                _once(name, found, seed)
    finally:
        signal.signal(signal.SIGPROF, before)
    found.seconds = time.process_time() - began
    return found


def _once(name: str, found: Found, seed: int) -> None:
    target = TARGETS[name]
    number = found.executions.get(name, 0)
    found.executions[name] = number + 1
    data = mutated(target.seeds, random.Random(f"{seed} {name} {number}"))
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        target.run(data)
    except target.refusals:
        pass
    except (Exception, Hang) as error:  # noqa: BLE001 - whatever it is, it is a finding
        found.findings.append(
            f"{name} seed {seed} number {number}: {type(error).__name__}: {str(error)[:200]}\n  {data[:300]!r}"
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    found.slowest = max(found.slowest, (time.process_time() - began, f"{name} number {number}"))


def _too_long(_: int, __: FrameType | None) -> None:
    raise Hang(f"more than {PATIENCE} CPU s")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    options = parser.parse_args()
    found = fuzz(options.targets, executions=options.executions, seconds=options.seconds, seed=options.seed)
    for finding in found.findings:
        print(finding)
    for name, count in found.executions.items():
        print(f"{count:>9,}  {name}")
    slowest = f"slowest {found.slowest[0] * 1000:.0f} ms ({found.slowest[1]})"
    print(f"{found.total:,} executions in {found.seconds:.0f} CPU s, {len(found.findings)} findings; {slowest}")
    if not found.findings:
        report(found)
    return 1 if found.findings else 0


def report(found: Found) -> None:
    detail = f"{len(found.executions)} readers; the slowest input took {found.slowest[0] * 1000:.0f} ms"
    record("fuzz", f"{found.total:,} executions, 0 tracebacks, 0 hangs", detail)


if __name__ == "__main__":
    sys.exit(main())
