"""The command line: find the verb, run it, and turn errors into messages and exit codes.

A verb is a module of `cli.verbs` with `add_arguments(parser)` and `run(arguments) -> int`; its docstring begins its
--help. Only the module of the verb in use is imported, so that `reconciler --help` takes less than 0.3 s.
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from reconciler import __version__
from reconciler.cli.exit_codes import ERROR, INTERRUPTED, LOCK_HELD, OK, USAGE, epilog
from reconciler.domain.errors import LockHeld, ManifestsInvalid, PermanentError, ReconcilerError, UsageError, refused
from reconciler.domain.text.escape import for_terminal

VERBS = {
    "validate": "check manifests and report every problem at once",
    "lock": "pin the files of models from the Hugging Face hub, beside the manifests",
    "plan": "show what would change on this machine, and why; changes nothing",
    "diff": "compare two commits, and show what each machine would do; reads git only",
    "apply": "bring this machine to what the manifests declare",
    "run": "keep this machine at what the manifests declare: a pass whenever something changes",
    "build": "convert what the manifests want and push it to a registry; serves nothing",
    "export": "write what another machine lacks into one file, for a place without a network",
    "import": "take in such a file, apply it, and write a receipt",
    "status": "show what is served, and in which condition",
    "ask": "ask a served model one question through Foundry Local",
    "bench": "measure the precisions of models on this machine, and recommend one",
    "explain": "show the exact Olive configuration and template of a model",
    "bom": "write the bill of materials of a model (CycloneDX): source, files, tools, licence",
    "history": "show the releases of a model, and what changed between them",
    "events": "show what was done on this machine, oldest first",
    "drift": "tell pending changes of git from changes made to the machine by others",
    "verify": "check every byte and every record of this machine, offline",
    "gc": "free what this machine no longer needs, and show why the rest is kept",
    "doctor": "check the surroundings: caches, versions, disk, permissions, git, clock",
    "inventory": "describe this machine in a small document for git; changes nothing",
    "fleet": "show all machines from their reports: a table, JSON, or a page without a server",
    "rollout": "show which ring of machines has a new release, and pause, promote or abort it in git",
    "rollback": "serve an earlier release again, and refuse the present one",
    "suspend": "leave a model or variant as it is on this machine",
    "resume": "end a suspension",
    "retry": "try again what failed here and is held back",
    "template": "write a chat template in the other form, where that is exact",
    "schema": "print the JSON Schema of the manifests",
    "demo": "show everything in a temporary folder: convert, serve, ask, repair, prune",
}

# These verbs read no configuration: they use no machine, or a temporary one.
UNCONFIGURED = frozenset({"schema", "template", "validate", "diff", "demo"})
NEW_OBJECTS = 50_000  # between two searches for cycles

_OVERVIEW = """usage: reconciler VERB [options]

GitOps for local AI models: manifests in git declare models, precisions and prompt
templates; reconciler makes this machine's Foundry Local serve exactly that.

verbs:
{verbs}

`reconciler VERB --help` explains one verb, its options and its exit codes.
Begin with `reconciler demo`, or in a folder with manifests: `reconciler plan`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    gc.set_threshold(NEW_OBJECTS)  # many small objects, few cycles: a fifth of a large diff went into looking for them
    try:
        code = _answer(*(arguments or ["--help"]))
        sys.stdout.flush()  # here, where an error can still be reported
        return code
    except KeyboardInterrupt:
        kept = ": finished work is kept, and the next apply continues from there"
        _say("interrupted" + kept * (arguments[:1] == ["apply"]))
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except ReconcilerError as error:
        return _report(error)
    except OSError as error:
        return _report(_refused(error))


def _answer(verb: str, *rest: str) -> int:
    if verb in ("-h", "--help", "help"):
        sys.stdout.write(overview())
        return OK
    if verb == "--version":
        sys.stdout.write(f"reconciler {__version__}\n")
        return OK
    if verb not in VERBS:
        close = get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean `reconciler {close[0]}`?" if close else "`reconciler --help` lists the verbs"
        raise UsageError(f"there is no verb {verb!r}", hint=hint)
    # Imported here and in `build_parser`, because it takes half a second, too long for `reconciler --help`.
    from reconciler.cli import configuration

    if verb not in UNCONFIGURED and not {"-h", "--help"} & set(rest):
        configuration.load(rest)
    parser = build_parser(verb)
    arguments = parser.parse_args(rest)
    code: int = arguments.run(arguments)
    return code


def build_parser(verb: str) -> argparse.ArgumentParser:
    from reconciler.cli.options import Parser

    module = import_module(f"reconciler.cli.verbs.{verb}")
    parser = Parser(
        prog=f"reconciler {verb}",
        description=module.__doc__,
        epilog=epilog(verb),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if verb not in UNCONFIGURED:  # `configuration.load` has read it already; here it is an option of --help only
        places = (
            "config.yaml in $XDG_CONFIG_HOME/reconciler, else in /etc/reconciler; Windows: %%PROGRAMDATA%%\\reconciler"
        )
        meaning = f"configuration of this machine (default: {places}; environment: RECONCILER_CONFIG, empty for none)"
        parser.add_argument("--config", metavar="FILE", help=meaning)
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return parser


def overview() -> str:
    width = max(map(len, VERBS))
    return _OVERVIEW.format(verbs="\n".join(f"  {name:<{width}}  {text}" for name, text in VERBS.items()))


def _report(error: ReconcilerError) -> int:
    if isinstance(error, ManifestsInvalid):
        from reconciler.cli.output import show_problems

        show_problems(error.problems)
        return ERROR
    say_error(error)
    if isinstance(error, UsageError):
        return USAGE
    return LOCK_HELD if isinstance(error, LockHeld) else ERROR


def say_error(error: ReconcilerError) -> None:
    _say(f"error: {error}" + (f"\nhint: {error.hint}" if error.hint else ""))


def _refused(error: OSError) -> ReconcilerError:
    """The system refused a file that the command line names."""
    known: ReconcilerError | None = refused(error)
    if known is not None and known.code != "AccessDenied":
        return known
    where = f" {error.filename}" if error.filename else ""
    hint = "name a place that this user can write with --root and --cache, or run as the user that owns it"
    return PermanentError(f"cannot use{where}: {error.strerror or error}", hint=hint)


def _say(text: str) -> None:
    sys.stderr.write(for_terminal(text) + "\n")
