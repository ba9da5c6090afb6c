"""The Hugging Face hub: questions and downloads through a child process (`hub.worker`).

An error shows whether time alone may help. The child is ended when it has been silent for too long: the hub's library
would wait and try again for as long as bytes trickle. How the hub is reached comes from this machine's environment,
never from a repository. The token goes to the child in its environment, and nowhere else: no argument, no log, no
record. Which files are downloaded stands in the lock (domain.sources.locked).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.domain.errors import DiskFull, PermanentError, ReconcilerError, TemporaryError, UsageError
from reconciler.domain.machine.bandwidth import PIECE
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.domain.text.escape import one_line
from reconciler.host.child import ChildFailed, ChildSilent
from reconciler.host.environment import private_environment
from reconciler.host.network import network_of
from reconciler.host.reading import size_of
from reconciler.sources.child_source import LONGEST, ChildSource
from reconciler.sources.download import MISMATCH_HINT

HUB = "https://huggingface.co"
SILENCE = 300.0  # seconds without a mebibyte: 3.5 KB/s
LIMITED = 30 * LONGEST  # where the configuration limits the rate; a silence still ends it
LONGEST_TOKEN = 4096

# Terms are accepted and tokens given without any change to what git declares.
_TEMPORARY = {"HubUnreachable", "HubGated", "HubForbidden"}
_HINTS = {
    "HubGated": "accept the model's terms on its page, with the account that the token belongs to (HF_TOKEN)",
    "HubForbidden": "check the name; for a private model give a token that may read it: HF_TOKEN or --hf-token-file",
    "HubNotFound": "check repo, revision and include",
    "HubInvalid": "check HF_ENDPOINT: what answers there is no hub, or means harm",
    "HubUnreachable": "check the network, HF_ENDPOINT and the proxy; what serves goes on serving",
    "DigestMismatch": MISMATCH_HINT,
}


@dataclass(frozen=True)
class HubAccess:
    """How this machine reaches the hub: the variables that the child gets. HF_TOKEN is among them if there is one."""

    variables: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str], token_file: str = "") -> "HubAccess":
        """From HF_ENDPOINT, HF_TOKEN or the file that RECONCILER_HF_TOKEN_FILE names, and what the network needs."""
        endpoint = environment.get("HF_ENDPOINT", "").strip().rstrip("/") or HUB
        if not endpoint.startswith(("https://", "http://")) or "@" in endpoint or not endpoint.isprintable():
            raise UsageError("HF_ENDPOINT: expected an address such as https://huggingface.co")
        token = _token(environment, token_file or environment.get("RECONCILER_HF_TOKEN_FILE", ""))
        return cls({**network_of(environment), "HF_ENDPOINT": endpoint, **({"HF_TOKEN": token} if token else {})})

    def child_environment(self, home: str) -> dict[str, str]:
        """All of it. Xet is off: it does not resume, and does not report whether it moves."""
        settings = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "30"}
        return private_environment(home, HF_HOME=home, **settings, **self.variables)


def _token(environment: Mapping[str, str], path: str) -> str:
    """Never shown, not even when something is wrong with it."""
    if path:
        if not os.path.isfile(path):
            raise UsageError(f"--hf-token-file: there is no file {path}")
        with open(path, encoding="utf-8", errors="replace") as file:
            token = file.read(LONGEST_TOKEN + 1).strip()
    else:
        token = environment.get("HF_TOKEN", "").strip()
    if len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable() or (path and not token):
        raise UsageError("expected a hub token: one line of printable characters")
    return token


class Hub(ChildSource):
    worker = "reconciler.sources.hub.worker"
    extra = "hub"

    def __init__(self, access: HubAccess, *, home: str, log: str, silence: float = SILENCE) -> None:
        super().__init__(access.child_environment(home), home=home, log=log, silence=silence)

    def commit(self, source: LockedSource, branch: str = "") -> str:
        parameters = {"repo": source.repo, "revision": branch}
        return str(self._ask("commit", parameters, f"{source.repo}@{branch or 'its branch'}")["commit"])

    def tree(self, source: LockedSource) -> list[dict[str, Any]]:
        place = {"repo": source.repo, "revision": source.revision, "folder": source.folder}
        files: list[dict[str, Any]] = self._ask("tree", place, str(source))["files"]
        within = f"{source.folder}/" if source.folder else ""
        return [{**one, "path": str(one["path"]).removeprefix(within)} for one in files]

    def download(
        self, source: LockedSource, file: LockedFile, target: str, on_bytes: Callable[[int], None], piece: int = PIECE
    ) -> None:
        path = f"{source.folder}/{file.path}" if source.folder else file.path
        place = {"repo": source.repo, "revision": source.revision, "path": path}
        order = {**place, "size": file.size, "target": target, "piece": piece}
        longest = LONGEST if piece == PIECE else LIMITED
        self._ask("download", order, f"{source}: {file.path}", on_bytes, longest)

    def held(self, target: str) -> int:
        return size_of(target)

    def _failure(self, error: ChildFailed, what: str) -> ReconcilerError:
        return PermanentError(f"{what}: {error.kind}: {one_line(error.message)}", code="FetchFailed")

    def _death(self, error: ReconcilerError, what: str) -> ReconcilerError:
        if isinstance(error, ChildSilent):
            message = f"{what}: nothing came for {self._silence:g} s"
            return TemporaryError(message, hint=_HINTS["HubUnreachable"], code="HubUnreachable")
        return TemporaryError(f"{what}: {one_line(str(error))}", hint=error.hint, code="FetchFailed")

    def _refusal(self, refused: dict[str, Any], what: str) -> ReconcilerError:
        code, message = refused["code"], f"{what}: {refused['message']}"
        hint = _HINTS.get(code, "")
        if code == DiskFull.code:
            return DiskFull(message, hint="free some space; what has come is kept")
        if code == "HubBusy":
            return TemporaryError(message, delay=refused["delay"], hint=hint, code=code)
        if code in _TEMPORARY:
            return TemporaryError(message, hint=hint, code=code)
        return PermanentError(message, hint=hint, code=code)
