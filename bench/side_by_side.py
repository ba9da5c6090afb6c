"""Time whole processes beside each other in one run.

Contenders take turns, in another order each round: a busy machine is busy for all of them, and none always follows
the one that emptied the caches. The median of the rounds counts.
Absolute figures say little on a shared machine; the ratio to a contender of the same run says what we want to
know.
"""

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One command. `succeeds` are the exit codes that count as done."""

    name: str
    command: list[str]
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    succeeds: tuple[int, ...] = (0,)

    def run(self) -> float:
        """Wall seconds from fork to exit; a contender that fails ends the benchmark with what it said."""
        started = time.perf_counter()
        child = subprocess.run(
            self.command,
            cwd=self.directory,
            env=environment_of(self),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if child.returncode not in self.succeeds:
            sys.exit(f"{self.name}: exit code {child.returncode}\n{child.stdout[-2000:]}{child.stderr[-4000:]}")
        return seconds


def environment_of(contender: Contender) -> dict[str, str]:
    """Ours, and its own. What is installed has its .pyc files, so a checkout writes them too: where a variable forbids
    that, each process would compile again what has changed."""
    ours = {name: held for name, held in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**ours, **contender.environment}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def bare_python(directory: Path) -> Contender:
    """The floor: what any program written in Python pays."""
    return Contender(name="python -c pass", command=[sys.executable, "-c", "pass"], directory=directory)


def compare(contenders: list[Contender], rounds: int) -> list[Timing]:
    """In the order of `contenders`. The first round fills the page cache and writes .pyc files and is not counted."""
    for contender in contenders:
        contender.run()
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    order = random.Random(1)
    for _ in range(rounds):
        for contender in order.sample(contenders, len(contenders)):
            seconds[contender.name].append(contender.run())
    return [Timing(name=name, seconds=tuple(taken)) for name, taken in seconds.items()]


def report(title: str, timings: list[Timing], beside: str, at_most: dict[str, float] | None = None) -> None:
    """A table on stdout, the same as JSON in bench/results/. `at_most` are promised ratios to `beside`."""
    promised = at_most or {}
    floor = next(timing.median for timing in timings if timing.name == beside)
    print(f"\n{title}: medians of {len(timings[0].seconds)}, beside `{beside}` in the same run\n")
    print(f"  {'':<28}{'seconds':>10}{'ratio':>9}  promised")
    for timing in timings:
        ratio, promise = timing.median / floor, promised.get(timing.name)
        verdict = f"at most {promise:g}: {'kept' if ratio <= promise else 'MISSED'}" if promise else ""
        print(f"  {timing.name:<28}{timing.median:>10.3f}{ratio:>9.2f}  {verdict}")
    _write_json(title, timings, beside, promised)


def _write_json(title: str, timings: list[Timing], beside: str, promised: dict[str, float]) -> None:
    RESULTS.mkdir(exist_ok=True)
    document = {
        "formatVersion": 1,
        "title": title,
        "beside": beside,
        "promised": promised,
        "machine": {"system": platform.platform(), "python": platform.python_version(), "cpus": os.cpu_count()},
        "medians": {timing.name: timing.median for timing in timings},
        "seconds": {timing.name: timing.seconds for timing in timings},
    }
    path = RESULTS / f"{title.replace(' ', '-')}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
