"""Read the manifests that a verb works on: from a repository (`--repo` and its options) or from a folder (`--path`)."""

import argparse
import os

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import ManifestsInvalid, PermanentError, UsageError
from reconciler.engine.machine import Machine
from reconciler.engine.resolve import Resolution
from reconciler.manifests.parsed import Parsed
from reconciler.operations.repository import read_branch
from reconciler.sources.git.address import Remote
from reconciler.sources.git.runner import Credentials, read_token
from reconciler.sources.manifests import Gathered, load, load_and_gather


def load_manifests(arguments: argparse.Namespace, machine: Machine, *, accept: bool = False) -> Parsed:
    """Read them from --repo, for verbs that have it, else from --path. `accept`: the caller is going to apply them."""
    if not getattr(arguments, "repo", None):
        return load_folder(arguments)
    roots = tuple(arguments.source_root)
    remote, credentials = remote_of(arguments), credentials_of(arguments)
    return read_branch(machine, remote, credentials, allowed_roots=roots, accept=accept).parsed


def gather_manifests(arguments: argparse.Namespace, machine: Machine) -> tuple[Parsed, Gathered]:
    """As `load_manifests`, with all that was read for it. Nothing is accepted."""
    roots = tuple(arguments.source_root)
    if not arguments.repo:
        require_folder(arguments.path)
        return load_and_gather(arguments.path, allowed_roots=roots)
    remote, credentials = remote_of(arguments), credentials_of(arguments)
    followed = read_branch(machine, remote, credentials, allowed_roots=roots, accept=False, gathers=True)
    assert followed.gathered is not None
    return followed.parsed, followed.gathered


def load_folder(arguments: argparse.Namespace) -> Parsed:
    require_folder(arguments.path)
    return load(arguments.path, allowed_roots=tuple(arguments.source_root))


def declared_variants(name: str, resolution: Resolution) -> list[DesiredRelease]:
    """Of a model, or the one variant of that name. Raises what is wrong where there is none."""
    wanted = resolution.desired.wanted
    if found := [one for one in wanted if name in (one.variant, one.release.model)]:
        return found
    if resolution.problems:
        raise ManifestsInvalid(resolution.problems)
    known = ", ".join(sorted({one.release.model for one in wanted})) or "nothing"
    raise PermanentError(f"no manifest declares {name}", hint=f"declared: {known}", code="NotDeclared")


def require_folder(path: str) -> None:
    """Refuse a single file: what a folder does not declare is pruned, and one file is not the whole folder."""
    if os.path.isfile(path):
        folder = os.path.dirname(path) or "."
        hint = f"name the folder: --path {folder}; `reconciler validate {path}` checks one file"
        raise UsageError(f"--path wants a folder, got the file {path}", hint=hint)


def remote_of(arguments: argparse.Namespace) -> Remote:
    keys = arguments.allowed_signers or os.environ.get("RECONCILER_GNUPGHOME")
    if arguments.verify != "none" and not keys:
        hint = "pass --allowed-signers FILE (ssh keys), or RECONCILER_GNUPGHOME (gpg keys)"
        raise UsageError("--verify wants to know whose signatures count", hint=hint)
    return Remote(
        arguments.repo,
        arguments.branch,
        arguments.path,
        allow_file=arguments.allow_file,
        allow_rewind=arguments.allow_rewind,
        verify=arguments.verify,
    )


def credentials_of(arguments: argparse.Namespace) -> Credentials:
    return Credentials(
        token=read_token(arguments.token_file or ""),
        ssh_key=_file("--ssh-key", arguments.ssh_key),
        known_hosts=_file("--known-hosts", arguments.known_hosts),
        allowed_signers=_file("--allowed-signers", arguments.allowed_signers),
        gnupg=os.path.abspath(home) if (home := os.environ.get("RECONCILER_GNUPGHOME")) else "",
    )


def _file(flag: str, path: str | None) -> str:
    if path and not os.path.isfile(path):
        raise UsageError(f"{flag}: there is no file {path}")
    return os.path.abspath(path) if path else ""
