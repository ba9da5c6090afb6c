"""Check the surroundings of this reconciler: the cache that it serves and the caches of other Foundry
applications (a model served into one is not in the others), the versions of the packages that convert and
serve, free disk, memory, permissions, the converter's cage, git, the URL of the followed repository, what
registries need, the clock, and leftovers of dead processes. Each line is ok, warning or error, with what to
do. Shows also the configuration in use and this machine's labels. Changes nothing and uses no network.
`reconciler verify` checks the store and the served models.
"""

import argparse
import contextlib
import os
import re
from collections.abc import Mapping
from functools import partial

from reconciler.cli import configuration, options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import note, show
from reconciler.domain.errors import RegistryFailed
from reconciler.host.reading import NotTrusted, read_whole
from reconciler.operations.doctor import examine
from reconciler.operations.support_bundle import write_bundle
from reconciler.registry.credentials import secrets_in, secrets_of
from reconciler.reports.checks import Diagnosis, doctor_text, doctor_view
from reconciler.sources.manifests import load

SECRET = re.compile(r"(?i)token|secret|password|passwd|passphrase|api_?key|credential")
PASSWORD_FILES = ("_AUTH_FILE",)  # as `docker login` writes them
SECRET_FILES = ("_TOKEN_FILE", "_SECRET_FILE", "_SSH_KEY", "_PASSPHRASE_FILE", "_SIGNING_KEY")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_conversion_memory(parser)
    options.add_cage(parser)
    parser.add_argument(
        "--bundle",
        metavar="FILE",
        help="also write a support bundle, FILE.tar.gz: these checks, versions, status, plan, events, ends of logs, "
        "disk; without secrets, manifests and weights",
    )
    options.add_common(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    root, cache = options.root_of(arguments), options.cache_of(arguments)
    home, traits = os.path.expanduser("~"), options.traits_of(arguments)
    follows, allow_file = configuration.setting("RECONCILER_REPO"), options.files_allowed()
    checks = examine(
        root, cache, home, configuration.file(), traits, arguments.cage, repository=follows, allow_file=allow_file
    )
    found = tuple(checks)
    shown = [one for one in found if one.level != "ok"] if arguments.quiet else found
    show(doctor_view(shown), arguments.output, text=doctor_text)
    if arguments.bundle:
        _bundle(arguments, found)
    return ERROR if any(one.level == "error" for one in found) else OK


def _bundle(arguments: argparse.Namespace, found: tuple[Diagnosis, ...]) -> None:
    settings = configuration.settings()
    path, roots = configuration.setting("RECONCILER_PATH", "manifests"), configuration.traits().source_roots
    has_manifests = os.path.isdir(path) and not settings.get("RECONCILER_REPO")
    parse = partial(load, path, allowed_roots=roots) if has_manifests else None
    machine = options.opened_machine(arguments)
    names = write_bundle(arguments.bundle, machine, found, settings, _secrets(settings), parse)
    note(arguments, f"wrote {arguments.bundle}: {', '.join(names)}; look into it before you send it")


def _secrets(settings: Mapping[str, str]) -> set[str]:
    """The values of environment variables named like a secret, and the lines of every file that holds one."""
    named = {value for name, value in os.environ.items() if SECRET.search(name)}
    found = {value for value in named if not value.startswith("/")}
    files = [value for name, value in settings.items() if name.endswith(SECRET_FILES)]
    for path in files:
        with contextlib.suppress(OSError):
            found |= set(read_whole(path, 64 << 10).decode("utf-8", "replace").split("\n"))
    for path in (value for name, value in settings.items() if name.endswith(PASSWORD_FILES)):
        with contextlib.suppress(OSError):
            found |= secrets_in(read_whole(path, 64 << 10).decode("utf-8", "replace"))
    for registry in configuration.traits().registries:
        with contextlib.suppress(RegistryFailed, NotTrusted):
            found |= secrets_of(registry)
    return {one.strip() for one in found}
