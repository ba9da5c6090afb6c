"""Measure declared models that are converted here, in the runtime that serves them: size, load time, time to
the first token and tokens per second by prompt length, peak memory, fidelity, golden prompts; and recommend
a precision for this machine. Each run is a new process with its own catalog: served models are not touched.
Measurements that a gate lacks are recorded, and the plots are kept for this machine's page. Ctrl-C shows the
measurements made until then.
"""

import argparse
import contextlib
import os
from importlib.util import find_spec

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, INTERRUPTED, OK, PARTLY
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import note, show, show_problems
from reconciler.cli.progress import run_bar
from reconciler.domain.errors import UsageError
from reconciler.engine.machine import Machine
from reconciler.engine.planning import Snapshot, take_snapshot
from reconciler.gates.benchmark import Benchmark
from reconciler.host.clock import now
from reconciler.host.durable import write_file
from reconciler.host.facts import load_average
from reconciler.host.places import install_command
from reconciler.operations.benchmark import Bench, Candidate, candidates, facts, keep_for_page, place
from reconciler.reports.benchmark.page import bench_page, benchmark_shown
from reconciler.reports.benchmark.report import bench_markdown, bench_text, bench_view

LONGEST_PROMPT = 1_000_000  # tokens
MOST_LENGTHS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="models or variants (default: all that are converted here)"
    )
    parser.add_argument(
        "--runs", type=options.positive, default=3, metavar="N", help="fresh processes for each (default: 3)"
    )
    parser.add_argument(
        "--prompt-lengths",
        type=_lengths,
        default=(32, 128, 512),
        metavar="N,...",
        help="tokens, besides those of the gates (default: 32,128,512); lengths beyond the context are skipped",
    )
    parser.add_argument(
        "--longest-prompt",
        type=options.duration_or_off,
        default=60.0,
        metavar="TIME",
        help="time for finding the longest prompt that each model answers here, or off (default: 60s)",
    )
    options.add_flag(
        parser,
        "--measure",
        "also measure fidelity where it is missing; needs the extra `convert` and the source in memory",
    )
    parser.add_argument(
        "--html", metavar="FILE", help="also write one self-contained page with plots; needs the extra `bench`"
    )
    options.add_manifests(parser, repository=True)
    options.add_common(parser, "text", "json", "markdown")


def run(arguments: argparse.Namespace) -> int:
    _require_page_possible(arguments.html)
    machine = options.opened_machine(arguments)
    seen = take_snapshot(machine, load_manifests(arguments, machine))
    show_problems(seen.resolution.problems)
    chosen = candidates(seen, arguments.names)
    view = bench_view(_measured(machine, seen, chosen, arguments))
    if find_spec("matplotlib") is not None:
        keep_for_page(machine, benchmark_shown(view))
    if arguments.html:
        write_file(os.path.abspath(arguments.html), bench_page(view).encode())
    show(view, arguments.output, text=bench_text, markdown=bench_markdown)
    failed = sum(one["problem"] is not None for one in view["variants"])
    if failed and view["complete"]:
        return ERROR if failed == len(view["variants"]) else PARTLY
    return OK if view["complete"] else INTERRUPTED


def _measured(
    machine: Machine, seen: Snapshot, chosen: tuple[Candidate, ...], arguments: argparse.Namespace
) -> Benchmark:
    before, date = load_average(), now()
    recorded = False
    with run_bar(len(chosen) * arguments.runs, quiet=arguments.quiet) as report:
        runs, lengths = arguments.runs, arguments.prompt_lengths
        longest, measure = arguments.longest_prompt, arguments.measure
        bench = Bench(look=seen, report=report, runs=runs, lengths=lengths, measure=measure, longest=longest)
        with contextlib.suppress(KeyboardInterrupt), place(machine) as (locked, scratch, holder):
            recorded = not holder
            if holder:
                note(arguments, f"note: {holder}; nothing is recorded, and its work may slow this one")
            bench.run(locked, chosen, scratch, record=recorded)
    return Benchmark(
        machine=facts(machine, bench.results, before),
        date=date,
        revision=seen.resolution.desired.revision,
        wanted_runs=arguments.runs,
        variants=tuple(bench.results),
        complete=bench.complete,
        recorded=recorded,
    )


def _lengths(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and 0 < int(part[:9]) <= LONGEST_PROMPT for part in parts):
        raise argparse.ArgumentTypeError(f"expected numbers of tokens such as 32,512, got {text!r}")
    if len(parts) > MOST_LENGTHS:
        raise argparse.ArgumentTypeError(f"expected at most {MOST_LENGTHS} lengths, got {len(parts)}")
    return tuple(int(part) for part in parts)


def _require_page_possible(path: str | None) -> None:
    """Checked before minutes of work."""
    if path is None:
        return
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise UsageError(f"--html {path} cannot be written", hint="name a file in a folder that is there")
    if find_spec("matplotlib") is None:
        raise UsageError(
            "a page with plots needs matplotlib, which is not installed here", hint=install_command("bench")
        )
