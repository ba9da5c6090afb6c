"""Options that verbs share: flag, else environment, else the machine's configuration, else default."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

from reconciler.cli import configuration
from reconciler.domain.errors import UsageError
from reconciler.domain.quoting import nearest
from reconciler.domain.units import read_duration, read_size
from reconciler.engine.machine import Machine, open_machine
from reconciler.host import places

CAGE_MODES = ("auto", "require", "off")


class Parser(argparse.ArgumentParser):
    """Wrong usage exits 64 (EX_USAGE), with the hint where to read more."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=self._meant(message) or f"`{self.prog} --help` lists the options")

    def _meant(self, message: str) -> str:
        """An option that is spelt much like one that is not known."""
        words = message.partition("unrecognized arguments: ")[2].split()
        flags = [word.partition("=")[0] for word in words if word.startswith("-")]
        if elsewhere := next((flag for flag in flags if flag in ("--root", "--cache")), ""):
            return f"`{self.prog}` needs no machine: leave {elsewhere} out"
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        return next((hint for flag in flags if (hint := nearest(flag, known))), "")


def add_config(parser: argparse.ArgumentParser) -> None:
    """It was read before the parser was made: here it is only named, and known as an option."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="configuration of this machine (default: config.yaml in $XDG_CONFIG_HOME/reconciler, else in "
        "/etc/reconciler; environment: RECONCILER_CONFIG, empty for none)",
    )


def add_manifests(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--path",
        metavar="DIR",
        default=configuration.setting("RECONCILER_PATH", "manifests"),
        help="folder with the manifests (default: manifests/; environment: RECONCILER_PATH)",
    )
    parser.add_argument(
        "--source-root",
        metavar="DIR",
        action="append",
        default=list(configuration.traits().source_roots),
        help="also allow model folders below DIR (default: the git checkout that holds the manifests); repeatable",
    )


def add_repository(parser: argparse.ArgumentParser) -> None:
    """A repository in place of a folder. What is trusted is said here, on the machine, never in the repository."""
    group = parser.add_argument_group("manifests from a repository", "--path is then a folder inside it")
    group.add_argument(
        "--repo",
        metavar="URL",
        default=configuration.setting("RECONCILER_REPO") or None,
        help="https or ssh URL (environment: RECONCILER_REPO)",
    )
    group.add_argument(
        "--branch",
        metavar="NAME",
        default=configuration.setting("RECONCILER_BRANCH", "main"),
        help="branch to follow (default: main; environment: RECONCILER_BRANCH)",
    )
    group.add_argument(
        "--allow-file",
        action="store_true",
        default=configuration.flag("RECONCILER_ALLOW_FILE"),
        help="also allow file URLs and local paths",
    )
    group.add_argument(
        "--allow-rewind",
        action="store_true",
        help="follow the branch even where it does not descend from the accepted commit",
    )
    group.add_argument(
        "--verify",
        choices=("none", "head", "all"),
        default=configuration.setting("RECONCILER_VERIFY", "none"),
        help="signatures wanted: of no commit, the newest, or all since the accepted one (default: none; "
        "environment: RECONCILER_VERIFY)",
    )
    for flag, meaning in _REPOSITORY_FILES.items():
        variable = environment_of(flag)
        group.add_argument(
            flag,
            metavar="FILE",
            default=configuration.setting(variable) or None,
            help=f"{meaning} (environment: {variable})",
        )


_REPOSITORY_FILES = {
    "--allowed-signers": "ssh keys whose signatures count, as ssh-keygen(1) describes; gpg: RECONCILER_GNUPGHOME",
    "--token-file": "file with a token for https; or the token itself in RECONCILER_GIT_TOKEN",
    "--ssh-key": "private key for ssh (default: the agent's, then those of the user)",
    "--known-hosts": "host keys for ssh (default: those of the user and the system); unknown hosts are refused",
}


def add_hub(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hf-token-file",
        metavar="FILE",
        default=os.environ.get("RECONCILER_HF_TOKEN_FILE"),
        help="file with a token for the Hugging Face hub; or the token itself in HF_TOKEN "
        "(environment: RECONCILER_HF_TOKEN_FILE)",
    )


def environment_of(flag: str) -> str:
    return "RECONCILER_" + flag.removeprefix("--").replace("-", "_").upper()


def add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        metavar="DIR",
        default=configuration.setting("RECONCILER_ROOT") or None,
        help="where store, served folders and records live (default: state/ in a checkout, /var/lib/reconciler for "
        "root, else $XDG_STATE_HOME/reconciler; environment: RECONCILER_ROOT)",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        default=configuration.setting("RECONCILER_CACHE") or None,
        help="Foundry Local's model_cache_dir (default: that of --app; environment: RECONCILER_CACHE)",
    )
    parser.add_argument(
        "--app",
        metavar="NAME",
        default=configuration.setting("RECONCILER_APP", "reconciler"),
        help="the Foundry Local application whose cache ~/.NAME/cache/models to serve (default: reconciler)",
    )


def add_output(parser: argparse.ArgumentParser, *formats: str) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=formats,
        default=formats[0],
        help=f"format on stdout (default: {formats[0]})",
    )


def add_conversions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs",
        type=positive,
        default=configuration.setting("RECONCILER_JOBS", "1"),
        metavar="N",
        help="conversions at a time (default: 1)",
    )
    parser.add_argument(
        "--conversion-timeout",
        type=duration,
        default=configuration.setting("RECONCILER_CONVERSION_TIMEOUT", "6h"),
        metavar="TIME",
        help="time limit of one conversion, e.g. 90m or 2h30m (default: 6h)",
    )
    parser.add_argument(
        "--conversion-memory",
        type=size,
        default=configuration.setting("RECONCILER_CONVERSION_MEMORY", "0"),
        metavar="SIZE",
        help="memory of one conversion, e.g. 24GiB; beyond it the conversion is ended (default: 80 %% of the "
        "machine's; environment: RECONCILER_CONVERSION_MEMORY)",
    )
    add_cage(parser)
    add_hub(parser)


def add_cage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cage",
        type=cage_mode,
        choices=CAGE_MODES,
        default=configuration.setting("RECONCILER_CAGE", "auto"),
        help="sandbox of the converter: the best there is, or none converts without, or none (default: auto; see "
        "docs/cage.md; environment: RECONCILER_CAGE)",
    )


def add_talk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing on stderr but errors")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on stderr")


def duration(text: str) -> float:
    """Seconds in a Go duration: `90s`, `2h30m`, `1.5h`."""
    seconds = read_duration(text)
    if seconds is None or not 0 < seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"expected a duration such as 90s, 45m or 2h30m, got {text!r}")
    return seconds


def duration_or_off(text: str) -> float:
    """Seconds; 0.0 for `off`."""
    return 0.0 if text == "off" else duration(text)


def versions(text: str) -> dict[str, str]:
    """Of packages: `foundry-local-sdk=2.3.0,onnxruntime=1.32.0`."""
    pairs = [part.strip().partition("=") for part in text.split(",")]
    if not all(name and equals and version for name, equals, version in pairs):
        raise argparse.ArgumentTypeError(f"expected NAME=VERSION, several with commas, got {text!r}")
    return {name.strip(): version.strip() for name, _, version in pairs}


def positive(text: str) -> int:
    """A count of at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def size(text: str) -> int:
    """Bytes in `24GiB`, `1.5TB` or `4096`."""
    found = read_size(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 24GiB, got {text!r}")
    return found


def cage_mode(text: str) -> str:
    """Checked here too: argparse does not check a default that comes from the environment."""
    if text not in CAGE_MODES:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(CAGE_MODES)}, got {text!r}")
    return text


LONGEST = 10 * 365 * 86400.0  # seconds: beyond it clocks and waits overflow


def token_file_of(arguments: argparse.Namespace) -> str:
    """Only the name: it is read for each download, because a token may be renewed."""
    return os.path.abspath(arguments.hf_token_file) if arguments.hf_token_file else ""


def root_of(arguments: argparse.Namespace) -> str:
    root: str = arguments.root or default_root()
    return os.path.abspath(root)


def opened_machine(arguments: argparse.Namespace) -> Machine:
    """As the configuration describes it; reads only."""
    return open_machine(root_of(arguments), cache_of(arguments), configuration.traits())


def default_root() -> str:
    if os.path.isfile(os.path.join("state", "README.md")) and os.path.isfile("pyproject.toml"):
        return "state"
    return _absolute(places.state_folder())


def cache_of(arguments: argparse.Namespace) -> str:
    if arguments.cache:
        return os.path.abspath(str(arguments.cache))
    return _absolute(places.model_cache(arguments.app))


def _absolute(path: str) -> str:
    if not os.path.isabs(path):
        raise UsageError("this user has no home folder", hint="pass --root and --cache")
    return path
