"""Take in a file that `reconciler export` has written for this machine, make a pass over the manifests in it, and write
a receipt: an inventory of what is served now, with what was imported, for the folder of inventories. Every byte is
compared with its digest; nothing is fetched for it. An import that was interrupted goes on, and importing the same
file again changes nothing. A daemon of this root has to be stopped meanwhile, and started again afterwards: what
serves goes on. What a window keeps back (`windows.activate`) waits for it, unless --at-any-time is given. More:
docs/air-gap.md
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator

from reconciler.cli import options
from reconciler.cli.exit_codes import OK, PARTLY
from reconciler.cli.output import json_text, note, say, show_resolution
from reconciler.cli.progress import byte_bar, reporter_for
from reconciler.cli.signals import interrupt_on_signals
from reconciler.cli.signing import add_signing_key, signing_key
from reconciler.domain.errors import LockHeld
from reconciler.domain.layout import Layout
from reconciler.domain.plain_data import as_dict
from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.quoting import count_of
from reconciler.engine import log
from reconciler.engine.machine import Machine, at_any_time, machine_name
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.host.lock import holder
from reconciler.operations.import_archive import Imported, import_archive, write_receipt
from reconciler.reports import render
from reconciler.reports.view import FORMAT_VERSION, pass_view
from reconciler.sources.manifests import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the archive")
    options.add_flag(parser, "--no-apply", "take it in only: a daemon that follows the imported folder applies it")
    add_signing_key(parser, "sign the receipt with this private key: FILE.receipt.json.sigstore.json")
    parser.add_argument("--receipt", metavar="FILE", help="where the receipt is written (default: FILE.receipt.json)")
    options.add_confirm(parser)
    options.add_at_any_time(parser)
    options.add_conversions(parser)
    options.add_common(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    interrupt_on_signals()
    key = signing_key(arguments)
    if arguments.verbose:
        log.talk()
    with _machine(arguments) as machine:
        with byte_bar(quiet=arguments.quiet, doing="reading") as on_bytes:
            imported = import_archive(machine, os.path.abspath(arguments.file), on_bytes)
        result = _applied(arguments, machine, imported)
        receipt = os.path.abspath(arguments.receipt or f"{arguments.file}.receipt.json")
        changed = bool(imported.taken) or imported.changed or (result is not None and bool(result.outcomes))
        write_receipt(machine, imported, receipt, changed=changed, key=key)
    _show(arguments, imported, result, receipt, machine_name(machine))
    converged = result is None or result.converged
    return OK if converged and not imported.refused else PARTLY


@contextlib.contextmanager
def _machine(arguments: argparse.Namespace) -> Iterator[Machine]:
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(options.machine_under_lock(arguments, "import"))
        except LockHeld as error:
            raise _with_a_way(error, Layout(options.root_of(arguments)).lock) from None
        yield at_any_time(held) if arguments.at_any_time else held


def _with_a_way(error: LockHeld, lock: str) -> LockHeld:
    """A daemon keeps the lock of its root for all its life."""
    found = holder(lock)
    if found is None or found.command != "run":
        return error
    how = f"stop the daemon (its service, or process {found.pid}), import, and start it again"
    return LockHeld(str(error), hint=f"{how}; what serves goes on serving meanwhile")


def _applied(arguments: argparse.Namespace, machine: Machine, imported: Imported) -> PassResult | None:
    if arguments.no_apply or not imported.manifests:
        return None
    parsed = load(imported.manifests, allowed_roots=tuple(machine.traits.source_roots))
    chosen = options.pass_options(arguments, confirm=arguments.confirm)
    with reporter_for(quiet=arguments.quiet) as reporter:
        return run_pass(machine, parsed, reporter, chosen)


def _show(
    arguments: argparse.Namespace, imported: Imported, result: PassResult | None, receipt: str, name: str
) -> None:
    if imported.made_for not in ("", name):
        note(arguments, f"warning: it was made for {imported.made_for}, and this machine is {name}")
    for doubt in imported.doubted:
        note(arguments, f"warning: {doubt}")
    for refusal in imported.refused:
        sys.stderr.write(f"error: {for_terminal(refusal)}\n")
    if result is not None:
        show_resolution(arguments, result.resolution.warnings, result.resolution.problems)
    view = None
    if result is not None:
        view = pass_view(result.outcomes, result.remaining, result.resolution.problems, result.converged)
    if arguments.output == "json":
        about = {"formatVersion": FORMAT_VERSION, "imported": as_dict(imported), "receipt": receipt, "applied": view}
        sys.stdout.write(json_text(about))
        return
    taken = f"{count_of(len(imported.taken), 'artifact')} taken in, {len(imported.held)} were here"
    taken += f", {len(imported.refused)} refused" if imported.refused else ""
    say(
        arguments,
        f"{taken}; manifests of {imported.revision or 'no commit'}{'' if imported.changed else ' (as before)'}",
    )
    if view is not None and not arguments.quiet:
        sys.stdout.write(render.pass_text(view))
    if imported.manifests:
        say(arguments, f"a daemon follows them with --path {imported.manifests}")
    say(arguments, f"receipt: {receipt}")
