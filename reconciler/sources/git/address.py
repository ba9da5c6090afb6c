"""Which repository, which branch, which folder: checked by us before git sees any of it.

git reads a URL that begins with a dash as an option, and some transports are programs (`ext::sh -c ...`). So nothing
is passed on that does not match what we expect, letter by letter: https and ssh, and file only where the operator
allows it. What a server asks for later (redirects, other protocols) is refused by the options in `sources.git.runner`.
"""

import os
import posixpath
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.domain.errors import UsageError
from reconciler.domain.text.quoting import shown

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F:]*:[0-9a-fA-F:]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_TOKEN = re.compile(r"gh[a-z]_|github_pat_|glpat-|hf_|.{65}")
_PATH = re.compile(r"/[A-Za-z0-9._~%+@=,/-]+")
_BRANCH = re.compile(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\+]+")
_ON_DRIVE = re.compile(r"[A-Za-z]:[\\/]")  # of Windows: no host of scp has one letter and a path that begins so
_SCP = re.compile(r"(?P<user>[\w.-]+@)?(?P<host>[\w.-]+):(?!//|:)(?P<path>.+)")

_IN_CONFIGURATION = "in a configuration `repository.allowFile: true`, for reports `reports.allowFile: true`"


@dataclass(frozen=True)
class Remote:
    """One branch of one repository, and what the operator trusts it with. Raises UsageError, which never repeats a
    password.

    `path` is the folder (or file) of the manifests inside the repository, "" for all of it.
    """

    url: str
    branch: str
    path: str
    allow_file: bool = False
    allow_rewind: bool = False
    verify: str = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_url(self.url, allow_file=self.allow_file))
        object.__setattr__(self, "path", checked_path(self.path))
        checked_branch(self.branch)


def checked_url(url: str, *, allow_file: bool = False) -> str:
    """The URL that git is given. With `allow_file` a local path becomes a file URL."""
    if not url or url.startswith("-") or not url.isprintable():
        raise _refused(f"expected the URL of a repository, got {shown(url)!r}")
    if "::" in url:  # guard: ext:: is refused
        raise _refused("expected an https or ssh URL, got one that names a program (`::`)")
    scheme, separator, _ = url.partition("://")
    if not separator:
        return _local(url, allow_file)
    if scheme == "file":
        return _file(url, allow_file)
    if scheme not in ("https", "ssh"):  # guard: only https and ssh
        raise _refused(f"expected an https or ssh URL, got {shown(scheme)}://")
    _check(url)
    return url


def checked_branch(name: str) -> str:
    """The rules of `git check-ref-format`, and none of the names that mean something else."""
    parts = name.split("/")
    wrong = (
        not _BRANCH.fullmatch(name)  # guard: a branch is a plain name
        or name in ("HEAD", "@")
        or parts[0] == "refs"
        or ".." in name
        or "@{" in name
        or name.endswith(".")
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
    )
    if wrong or not name.isprintable():
        raise UsageError(
            f"expected the name of a branch, got {shown(name)!r}", hint="as in --branch main", code="GitBranch"
        )
    return name


def checked_path(path: str) -> str:
    """The folder inside the repository, normalised; "" for its top."""
    normal = posixpath.normpath(path.replace(os.sep, "/"))
    if not path or normal.startswith(("/", "../")) or normal == ".." or "\\" in normal or "\0" in normal:
        message = f"expected a folder inside the repository, got {shown(path)!r}"
        raise UsageError(message, hint="with --repo, --path is relative to the top of the repository")
    return "" if normal == "." else normal


def realm(url: str) -> tuple[str, str]:
    """(server, user) for whom a token is meant; ("", "") when it would not be encrypted on its way. The user is the one
    that the URL names; most servers take any name beside a token."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return "", ""
    return f"https://{parts.netloc.rpartition('@')[2]}", parts.username or "x-access-token"


def has_lfs(url: str) -> bool:
    """Whether what Git LFS keeps is fetched from there (`registry.lfs_source`)."""
    return url.startswith(("https://", "file://"))


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError:
        raise _refused("expected a URL with a host and a path") from None
    if (
        parts.password is not None  # guard: no password in a URL
        or _TOKEN.match(parts.username or "")  # guard: no token in a URL
    ):
        hint = "others can see arguments: put the token into a file (--token-file) or into RECONCILER_GIT_TOKEN"
        raise UsageError("the URL holds a password or a token", hint=hint, code="GitUrl")
    if not _HOST.fullmatch(parts.hostname or ""):
        raise _refused(f"expected the name of a host, got {shown(parts.hostname or '')!r}")
    if parts.username is not None and not _USER.fullmatch(parts.username):
        raise _refused(f"expected a user name, got {shown(parts.username)!r}")
    if not _PATH.fullmatch(parts.path) or parts.path.startswith("/-"):
        raise _refused(f"expected the path of a repository, got {shown(parts.path)!r}")
    if parts.query or parts.fragment:
        raise _refused("expected a URL without ? and #")


def _file(url: str, allowed: bool) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise _refused("expected file:///path")
    if not allowed:
        hint = f"--repo {shown(url)} --allow-file; {_IN_CONFIGURATION}"
        raise _refused("a file URL is only allowed with --allow-file", hint=hint)
    return f"file://{parts.path}"


def _local(path: str, allowed: bool) -> str:
    """A path on this machine; or what looks like scp's `host:path`, which has an exact spelling too."""
    if not _ON_DRIVE.match(path) and (written := _SCP.fullmatch(path)):
        user, host, inner = written["user"] or "", written["host"], written["path"].lstrip("/")
        if sys.platform == "win32" and len(host) == 1 and not user:
            raise _refused(f"expected a whole path, got {shown(path)!r}", hint=rf"write {host}:\{shown(inner)}")
        if not os.path.exists(path):
            raise _refused(
                f"expected a URL, got {shown(path)!r}", hint=f"write ssh://{shown(user + host)}/{shown(inner)}"
            )
    if not allowed:
        hint = f"a path on this machine wants --allow-file; {_IN_CONFIGURATION}"
        raise _refused(f"{shown(path)!r} is no https or ssh URL", hint=hint)
    return Path(os.path.abspath(path)).as_uri()


def _refused(message: str, hint: str = "as in --repo https://host/group/repository.git") -> UsageError:
    return UsageError(message, hint=hint, code="GitUrl")
