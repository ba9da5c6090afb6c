"""Whom this machine tells what happens: webhooks that get CloudEvents, and forges that get commit statuses. Configured
on the machine, never in the repository. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reconciler.domain.errors import UsageError

FORGES = {"github": "https://api.github.com", "gitlab": "https://gitlab.com", "gitea": ""}

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_URL = re.compile(r"(https?)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?(/[!-~]*)?")
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|\[::1\]")
_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")


@dataclass(frozen=True, kw_only=True)
class Sink:
    """A webhook. `name` is what logs say, because a URL may be a secret; what was delivered is remembered under it."""

    name: str
    url: str
    secret_file: str = ""


@dataclass(frozen=True, kw_only=True)
class CommitStatus:
    """`url` is the forge's, as FORGES has it when it is the public one."""

    type: str
    url: str
    repository: str
    token_file: str

    @property
    def name(self) -> str:
        return f"{self.type}-{self.repository.lower()}".replace("/", "-").replace("_", "-").replace(".", "-")


def sink(url: str, *, name: str = "default", secret_file: str = "") -> Sink:
    """Raises UsageError, which does not repeat the URL."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"notifications: expected a name of a-z, 0-9 and -, got {name!r}")
    _check_url(url, f"notifications: {name}")
    return Sink(name=name, url=url, secret_file=secret_file)


def commit_status(kind: str, repository: str, token_file: str, url: str = "") -> CommitStatus:
    """Raises UsageError."""
    where = "commit status"
    if kind not in FORGES:
        raise UsageError(f"{where}: expected one of {', '.join(FORGES)}, got {kind!r}")
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"{where}: expected OWNER/NAME, got {repository!r}")
    if not token_file:
        raise UsageError(f"{where}: a file with a token is needed", hint="--commit-status-token-file FILE")
    base = (url or FORGES[kind]).rstrip("/")
    if not base:
        raise UsageError(f"{where}: {kind} needs the address of its server", hint="--commit-status-url URL")
    _check_url(base, where)
    if base.startswith("http:") and not _is_loopback(base):
        raise UsageError(f"{where}: a token is sent over https only")
    return CommitStatus(type=kind, url=base, repository=repository, token_file=token_file)


def _check_url(url: str, where: str) -> None:
    """No user and password in it: there are files for secrets."""
    if not _URL.fullmatch(url):
        raise UsageError(f"{where}: expected a URL such as https://example.com/path, without a password")


def _is_loopback(url: str) -> bool:
    match = _URL.fullmatch(url)
    return match is not None and _LOOPBACK.fullmatch(match[2]) is not None
