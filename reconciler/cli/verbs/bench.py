"""`reconciler bench [NAME...]`: what each precision costs on this machine and what it is worth, measured in the real
runtime."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, INTERRUPTED, OK, PARTLY
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import show, show_problems
from reconciler.domain.errors import UsageError
from reconciler.domain.escape import for_terminal
from reconciler.engine.machine import Machine
from reconciler.engine.planning import Snapshot, take_snapshot
from reconciler.gates.benchmark import Benchmark
from reconciler.host.clock import now
from reconciler.host.durable import write_file
from reconciler.host.facts import load_average
from reconciler.operations.benchmark import Bench, Candidate, Options, candidates, facts, place
from reconciler.reports.benchmark.page import bench_page
from reconciler.reports.benchmark.text import bench_markdown, bench_text
from reconciler.reports.benchmark.view import bench_view

LONGEST_PROMPT = 1_000_000  # tokens
MOST_LENGTHS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Measure declared models that are converted here, in the runtime that serves: size, load time, time to the\n"
        "first token and tokens per second by prompt length, peak memory, fidelity, golden prompts; and recommend a\n"
        "precision for this machine. Each run is a fresh process on a catalog of its own: what serves is not touched.\n"
        "Numbers that a gate still lacks are recorded for it. Ctrl-C shows what was measured until then."
    )
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
        help="tokens, besides those of the gates (default: 32,128,512); what does not fit the context is left out",
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help="also compare with its source what never was; needs the extra `convert` and the source in memory",
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="also write one self-contained page with plots; needs the extra `bench`",
    )
    options.add_manifests(parser)
    options.add_machine(parser)
    options.add_output(parser, "text", "json", "markdown")
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    _require_page_possible(arguments.html)
    machine = options.opened_machine(arguments)
    seen = take_snapshot(machine, load_manifests(arguments, machine))
    show_problems(seen.resolution.problems)
    chosen = candidates(seen, arguments.names)
    view = bench_view(_measured(machine, seen, chosen, arguments))
    if arguments.html:
        _write_page(arguments.html, view)
    show(view, arguments.output, {"text": bench_text, "markdown": bench_markdown})
    return _code(view)


def _measured(
    machine: Machine, seen: Snapshot, chosen: tuple[Candidate, ...], arguments: argparse.Namespace
) -> Benchmark:
    before, date = load_average(), now()
    wanted = Options(runs=arguments.runs, lengths=arguments.prompt_lengths, measure=arguments.measure)
    with _progress(len(chosen) * arguments.runs, quiet=arguments.quiet) as told:
        bench = Bench(seen, wanted, told)
        recorded = _run(bench, machine, chosen, quiet=arguments.quiet)
    return Benchmark(
        machine=facts(machine, bench.results, before),
        date=date,
        revision=seen.resolution.desired.revision,
        wanted_runs=arguments.runs,
        variants=tuple(bench.results),
        complete=bench.complete,
        recorded=recorded,
    )


def _run(bench: Bench, machine: Machine, chosen: tuple[Candidate, ...], *, quiet: bool) -> bool:
    """Whether the root was ours, so that numbers are recorded."""
    recorded = False
    with contextlib.suppress(KeyboardInterrupt), place(machine) as (ours, scratch, holder):
        recorded = not holder
        if holder and not quiet:
            sys.stderr.write(f"note: {holder}; nothing is recorded, and its work may slow ours\n")
        bench.run(ours, chosen, scratch, record=recorded)
    return recorded


def _code(view: Mapping[str, Any]) -> int:
    if not view["complete"]:
        return INTERRUPTED
    failed = [one for one in view["variants"] if one["problem"]]
    if not failed:
        return OK
    return ERROR if len(failed) == len(view["variants"]) else PARTLY


def _lengths(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and 0 < int(part[:9]) <= LONGEST_PROMPT for part in parts):
        raise argparse.ArgumentTypeError(f"expected numbers of tokens such as 32,512, got {text!r}")
    if len(parts) > MOST_LENGTHS:
        raise argparse.ArgumentTypeError(f"expected at most {MOST_LENGTHS} lengths, got {len(parts)}")
    return tuple(int(part) for part in parts)


def _require_page_possible(path: str | None) -> None:
    """Before minutes of work, not after."""
    if path is None:
        return
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise UsageError(f"--html {path} cannot be written", hint="name a file in a folder that is there")
    if find_spec("matplotlib") is None:
        raise UsageError(
            "a page with plots needs matplotlib, which is not installed here",
            hint="pip install 'foundry-reconciler[bench]'",
        )


def _write_page(path: str, view: Mapping[str, Any]) -> None:
    write_file(os.path.abspath(path), bench_page(view).encode())


@contextlib.contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[str, str], None]]:
    """A bar on a terminal, one line a step elsewhere."""
    if quiet:
        yield lambda variant, what: None
        return
    if not sys.stderr.isatty():
        yield lambda variant, what: print(for_terminal(f"{variant}: {what}"), file=sys.stderr, flush=True)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def told(variant: str, what: str) -> None:
            bar.update(task, description=for_terminal(f"{variant}: {what}"))
            bar.advance(task, what.startswith("run"))

        yield told
