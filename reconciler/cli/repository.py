"""`--repo` and its companions: what the operator said about a repository, checked, and the secrets that go with it."""

from __future__ import annotations

import argparse
import os

from reconciler.domain.errors import UsageError
from reconciler.engine.machine import Machine
from reconciler.manifests.parsed import Parsed
from reconciler.operations.repository import read_branch
from reconciler.sources.git.address import VERIFY, Remote, remote
from reconciler.sources.git.source import Credentials

LONGEST_TOKEN = 4096


def load_repository(arguments: argparse.Namespace, machine: Machine, *, accept: bool) -> Parsed:
    return read_branch(
        machine,
        remote_of(arguments),
        credentials_of(arguments),
        allowed_roots=tuple(arguments.source_root),
        accept=accept,
    )


def remote_of(arguments: argparse.Namespace) -> Remote:
    if (
        arguments.verify not in VERIFY
    ):  # argparse does not look at defaults, and this one comes from the environment
        raise UsageError(f"RECONCILER_VERIFY: expected one of {', '.join(VERIFY)}")
    if arguments.verify != "none" and not (
        arguments.allowed_signers or os.environ.get("RECONCILER_GNUPGHOME")
    ):
        hint = "pass --allowed-signers FILE (ssh keys), or RECONCILER_GNUPGHOME (gpg keys)"
        raise UsageError("--verify wants to know whose signatures count", hint=hint)
    return remote(
        arguments.repo,
        arguments.branch,
        arguments.path,
        allow_file=arguments.allow_file,
        allow_rewind=arguments.allow_rewind,
        verify=arguments.verify,
    )


def credentials_of(arguments: argparse.Namespace) -> Credentials:
    return Credentials(
        token=_token(arguments.token_file),
        ssh_key=_file("--ssh-key", arguments.ssh_key),
        known_hosts=_file("--known-hosts", arguments.known_hosts),
        allowed_signers=_file("--allowed-signers", arguments.allowed_signers),
        gnupg=os.path.abspath(home) if (home := os.environ.get("RECONCILER_GNUPGHOME")) else "",
    )


def _token(path: str | None) -> str:
    """Never shown, not even when something is wrong with it."""
    if path:
        with open(_file("--token-file", path), encoding="utf-8", errors="replace") as file:
            token = file.read(LONGEST_TOKEN + 1).strip()
    else:
        token = os.environ.get("RECONCILER_GIT_TOKEN", "").strip()
    if len(token) > LONGEST_TOKEN or not token.isprintable() or (path and not token):
        raise UsageError("expected a token: one line of printable characters")
    return token


def _file(flag: str, path: str | None) -> str:
    if path and not os.path.isfile(path):
        raise UsageError(f"{flag}: there is no file {path}")
    return os.path.abspath(path) if path else ""
