"""Addresses of pages of a git server on which a thing can be changed: GitHub, GitLab, and those that speak as Gitea and
Forgejo do. Only https; a repository that is reached another way has none, but for ssh to a named host."""

import re
from urllib.parse import quote, urlsplit

_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[\w.-]+):(?P<path>[\w./~+-]+)")


class Forge:
    """`home` is the repository's page, "" where there is none; then all others are "" too."""

    def __init__(self, url: str, branch: str) -> None:
        self.home = _home(url)
        self._branch = quote(branch, safe="/")
        self._middle = "/-" if "gitlab" in (urlsplit(self.home).hostname or "") else ""

    def compare(self, commit: str) -> str:
        """What came since that commit."""
        if not self.home or not self._branch or not re.fullmatch("[0-9a-f]{7,64}", commit):
            return ""
        return f"{self.home}{self._middle}/compare/{commit}...{self._branch}"

    def edit(self, path: str) -> str:
        """Where a file is edited, which ends in a pull request."""
        if not self.home or not self._branch or not path:
            return ""
        verb = "/_edit/" if self._is_gitea else f"{self._middle}/edit/"
        return f"{self.home}{verb}{self._branch}/{quote(path)}"

    @property
    def _is_gitea(self) -> bool:
        host = urlsplit(self.home).hostname or ""
        return not (self._middle or "github" in host)


def _home(url: str) -> str:
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path
    if parts.scheme == "https" and parts.port:
        host = f"{host}:{parts.port}"
    if not parts.scheme and (found := _SCP.fullmatch(url)):
        host, path = found["host"], f"/{found['path']}"
    elif parts.scheme not in ("https", "ssh"):
        return ""
    path = path.removesuffix("/").removesuffix(".git")
    return f"https://{host}{quote(path)}" if re.fullmatch(r"[\w.:-]+", host) and path.strip("/") else ""
