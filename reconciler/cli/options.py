"""Options that several verbs share, and the values that are read from them.

The value of an option comes from the command line, else the environment, else the machine's configuration, else the
default.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from reconciler.backends.select import catalog_of
from reconciler.cli import configuration
from reconciler.domain.errors import UsageError
from reconciler.domain.machine.backends import BackendSettings
from reconciler.domain.machine.facts import Traits
from reconciler.domain.sources.locked import GIT
from reconciler.domain.text.names import environment_of
from reconciler.domain.text.quoting import nearest
from reconciler.domain.text.units import duration_meant, read_duration, read_size, size_meant
from reconciler.engine.machine import Machine, locked_machine, open_machine
from reconciler.engine.options import Options
from reconciler.engine.remote_sources.kinds import REMOTES
from reconciler.host import places
from reconciler.host.cage import CAGE_MODES

MAX_DURATION = 10 * 365 * 86400.0  # seconds: clocks and waits overflow beyond it

_REPOSITORY_FILES = {
    "--allowed-signers": "ssh keys whose signatures count, as ssh-keygen(1) describes; gpg: RECONCILER_GNUPGHOME",
    "--token-file": "file with a token for https; or the token itself in RECONCILER_GIT_TOKEN",
    "--ssh-key": "private key for ssh (default: the agent's, then those of the user)",
    "--known-hosts": "host keys for ssh (default: those of the user and the system); unknown hosts are refused",
}


class Parser(argparse.ArgumentParser):
    """Wrong usage exits with 64 (EX_USAGE) and a hint."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=self._nearest_option(message) or f"`{self.prog} --help` lists the options")

    def _nearest_option(self, message: str) -> str:
        words = message.partition("unrecognized arguments: ")[2].split()
        flags = [word.partition("=")[0] for word in words if word.startswith("-")]
        if elsewhere := next((flag for flag in flags if flag in ("--root", "--cache")), ""):
            return f"`{self.prog}` needs no machine: leave {elsewhere} out"
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        return next((hint for flag in flags if (hint := nearest(flag, known))), "")


def add_setting(
    parser: argparse._ActionsContainer, flag: str, meaning: str, *, default: str = "", shown: str = "", **more: Any
) -> None:
    """Add an option that the environment and the configuration can set. `shown` is how --help names the default."""
    variable = environment_of(flag)
    if "choices" in more:  # argparse checks them for the command line only
        more["type"] = partial(_one_of, more["choices"])
    notes = [f"default: {shown or default}"] if shown or default else []
    parser.add_argument(
        flag,
        default=configuration.setting(variable, default) or None,
        help=f"{meaning} ({'; '.join([*notes, f'environment: {variable}'])})",
        **more,
    )


def add_flag(
    parser: argparse._ActionsContainer, flag: str, meaning: str, *, short: str = "", default: bool = False
) -> None:
    parser.add_argument(*filter(None, (short, flag)), action="store_true", default=default, help=meaning)


def add_manifests(parser: argparse.ArgumentParser, *, repository: bool = False) -> None:
    """Where the manifests are: a folder or, with `repository`, a branch of a repository too."""
    add_setting(parser, "--path", "folder with the manifests", default="manifests", metavar="DIR")
    parser.add_argument(
        "--source-root",
        metavar="DIR",
        action="append",
        default=list(configuration.traits().source_roots),
        help="also allow model folders below DIR (default: the git checkout that holds the manifests); repeatable",
    )
    if not repository:
        return
    # What is trusted is set on the machine, never in the repository.
    group = parser.add_argument_group("manifests from a repository", "--path is then a folder inside it")
    add_setting(group, "--repo", "https or ssh URL", metavar="URL")
    add_setting(group, "--branch", "branch to follow", default="main", metavar="NAME")
    add_flag(group, "--allow-file", "also allow file URLs and local paths", default=files_allowed())
    add_flag(group, "--allow-rewind", "follow the branch even where it does not descend from the accepted commit")
    meaning = "require signatures of no commit, the newest, or all since the accepted one"
    add_setting(group, "--verify", meaning, default="none", choices=("none", "head", "all"))
    for flag, meaning in _REPOSITORY_FILES.items():
        add_setting(group, flag, meaning, metavar="FILE")


def files_allowed() -> bool:
    """Whether the environment or the configuration allows that the followed repository is on this machine."""
    return configuration.setting("RECONCILER_ALLOW_FILE") == "1"


def add_policies(parser: argparse.ArgumentParser) -> None:
    meaning = "configuration of a machine (config.yaml): its policies are checked too, beside those among the manifests"
    parser.add_argument("--policies", metavar="FILE", help=meaning)


def add_confirm(parser: argparse.ArgumentParser) -> None:
    add_flag(
        parser, "--confirm", "allow prunes that need a confirmation: of all models, more than half or more than five"
    )


def add_token_files(parser: argparse.ArgumentParser) -> None:
    for remote in filter(lambda one: one.token_option, REMOTES.values()):
        add_setting(parser, remote.token_option, remote.token_meaning, metavar="FILE")


def token_files(arguments: argparse.Namespace) -> dict[str, str]:
    """By kind of source. Only the names: a file is read for each download, because a token may be renewed."""
    given = vars(arguments)
    options = {kind: remote.token_option for kind, remote in REMOTES.items() if remote.token_option}
    files = {kind: given[option[2:].replace("-", "_")] for kind, option in options.items()}
    files[GIT] = given.get("token_file")  # of --repo: what Git LFS keeps comes from the same server
    return {kind: os.path.abspath(file) for kind, file in files.items() if file}


def add_machine(parser: argparse.ArgumentParser) -> None:
    add_setting(
        parser,
        "--root",
        "folder for the store, served models and records",
        shown="state/ in a checkout of reconciler, /var/lib/reconciler for root, else $XDG_STATE_HOME/reconciler",
        metavar="DIR",
    )
    add_setting(parser, "--cache", "Foundry Local's model_cache_dir", shown="that of --app", metavar="DIR")
    meaning = "the Foundry Local application whose cache ~/.NAME/cache/models to serve"
    add_setting(parser, "--app", meaning, default="reconciler", metavar="NAME")


def add_common(parser: argparse.ArgumentParser, *formats: str) -> None:
    """The options of every verb that reads or changes a machine: where it is, the format, and how much is printed."""
    add_machine(parser)
    if formats:
        add_output(parser, *formats)
    add_verbosity(parser)


def add_output(parser: argparse.ArgumentParser, *formats: str) -> None:
    parser.add_argument(
        "-o", "--output", choices=formats, default=formats[0], help=f"format on stdout (default: {formats[0]})"
    )


def add_conversions(parser: argparse.ArgumentParser) -> None:
    add_setting(parser, "--jobs", "conversions at a time", default="1", type=positive, metavar="N")
    meaning = "time limit of one conversion, e.g. 90m or 2h30m"
    add_setting(parser, "--conversion-timeout", meaning, default="6h", type=duration, metavar="TIME")
    add_conversion_memory(parser)
    add_cage(parser)
    add_token_files(parser)


def add_conversion_memory(parser: argparse.ArgumentParser) -> None:
    add_setting(
        parser,
        "--conversion-memory",
        "memory of one conversion, e.g. 24GiB: one that needs more is not begun, and one that takes more is ended",
        default="0",
        shown="80 %% of the machine's",
        type=size,
        metavar="SIZE",
    )


def add_cage(parser: argparse.ArgumentParser) -> None:
    meaning = "sandbox of the converter (docs/cage.md): the best available, convert only with one, or none"
    add_setting(parser, "--cage", meaning, default="auto", choices=CAGE_MODES)


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    add_flag(parser, "--quiet", "print only errors on stderr", short="-q")
    add_flag(parser, "--verbose", "print more on stderr", short="-v")


def duration(text: str) -> float:
    """Seconds in a Go duration: `90s`, `2h30m`, `1.5h`."""
    seconds = read_duration(text)
    if seconds is None or not 0 < seconds <= MAX_DURATION:
        raise _unread("a duration such as 90s, 45m or 2h30m", text, duration_meant(text))
    return seconds


def _unread(expected: str, text: str, meant: Iterator[str]) -> argparse.ArgumentTypeError:
    """With the likeliest thing that was meant, where there is one."""
    instead = next((f": write {one}" for one in meant if one != text), "")
    return argparse.ArgumentTypeError(f"expected {expected}, got {text!r}{instead}")


def duration_or_off(text: str) -> float:
    return 0.0 if text == "off" else duration(text)


def versions(text: str) -> dict[str, str]:
    """Versions of packages: `foundry-local-sdk=2.3.0,onnxruntime=1.32.0`."""
    pairs = [part.strip().partition("=") for part in text.split(",")]
    if not all(name and equals and version for name, equals, version in pairs):
        raise argparse.ArgumentTypeError(f"expected NAME=VERSION, several with commas, got {text!r}")
    return {name.strip(): version.strip() for name, _, version in pairs}


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def size(text: str) -> int:
    """Bytes in `24GiB`, `1.5TB` or `4096`."""
    found = read_size(text)
    if found is None:
        raise _unread("a size such as 24GiB", text, size_meant(text))
    return found


def _one_of(choices: Sequence[str], text: str) -> str:
    if text not in choices:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(choices)}, got {text!r}")
    return text


def pass_options(arguments: argparse.Namespace, *, confirm: bool = False, retry: bool = False) -> Options:
    return Options(
        confirm=confirm,
        jobs=arguments.jobs,
        conversion_timeout=arguments.conversion_timeout,
        conversion_memory=arguments.conversion_memory,
        cage=arguments.cage,
        retry=retry,
        token_files=token_files(arguments),
    )


def opened_machine(arguments: argparse.Namespace) -> Machine:
    """The machine with its configuration, to be read only."""
    return open_machine(root_of(arguments), cache_of(arguments), traits_of(arguments))


def traits_of(arguments: argparse.Namespace) -> Traits:
    """Those of the configuration; an option overrides them."""
    traits = configuration.traits()
    return replace(traits, conversion_memory=getattr(arguments, "conversion_memory", traits.conversion_memory))


def add_at_any_time(parser: argparse.ArgumentParser) -> None:
    add_flag(
        parser, "--at-any-time", "also what waits for a window or another connection; rate and daily budget still hold"
    )


def machine_under_lock(
    arguments: argparse.Namespace, command: str, *, suspends: bool = False
) -> AbstractContextManager[Machine]:
    root, cache = root_of(arguments), cache_of(arguments)
    return locked_machine(root, cache, command=command, traits=traits_of(arguments), suspends=suspends)


def root_of(arguments: argparse.Namespace) -> str:
    if arguments.root:
        return os.path.abspath(str(arguments.root))
    if os.path.isfile(os.path.join("state", "README.md")) and os.path.isfile("pyproject.toml"):
        return os.path.abspath("state")
    return _absolute(places.state_folder())


def cache_of(arguments: argparse.Namespace) -> str:
    if arguments.cache:
        return os.path.abspath(str(arguments.cache))
    first = next(iter(configuration.traits().backends), BackendSettings())
    return _absolute(catalog_of(first, arguments.app))


def _absolute(path: str) -> str:
    if not os.path.isabs(path):
        raise UsageError("this user has no home folder", hint="pass --root and --cache")
    return path
