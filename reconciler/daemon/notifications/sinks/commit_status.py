"""The commit-status sink: marks the commit that the last pass applied, on GitHub, GitLab or Gitea.

The status is derived from what the last pass left, and sent when it differs from the one sent last. Nothing is queued.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.daemon.background import retry_after
from reconciler.daemon.notifications.cloud_events import safe_name
from reconciler.daemon.notifications.post import Reply, check_url, is_loopback, post
from reconciler.daemon.notifications.sink import SinkContext, SinkKind
from reconciler.daemon.secret_file import NoSecret, checked_secret_file, read_secret
from reconciler.daemon.state import State
from reconciler.domain.errors import UsageError
from reconciler.domain.plain_data import as_dict
from reconciler.domain.reasons import USER_HOLDS
from reconciler.domain.recorded import Condition
from reconciler.engine import log

PENDING, SUCCESS, FAILURE = "pending", "success", "failure"
LONGEST = 140  # characters of a description that GitHub takes
FORGES = {"github": "https://api.github.com", "gitlab": "https://gitlab.com", "gitea": ""}
_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
_REPO, _TOKEN_FILE, _SERVER = "--commit-status", "--commit-status-token-file", "--commit-status-url"
_COMMIT = re.compile(r".+@sha1:([0-9a-f]{40})")  # how a revision that is a commit is written


@dataclass(frozen=True, kw_only=True)
class CommitStatusTarget:
    """`url` is the forge's, as FORGES has it when it is the public one."""

    type: str
    url: str
    repository: str
    token_file: str

    @property
    def name(self) -> str:
        return f"{self.type}-{self.repository.lower()}".replace("/", "-").replace("_", "-").replace(".", "-")

    def open(self, context: SinkContext) -> "StatusPublisher":
        return StatusPublisher(self, context)


def commit_status_target(kind: str, repository: str, token_file: str, url: str = "") -> CommitStatusTarget:
    """Raises UsageError."""
    where = "commit status"
    if kind not in FORGES:
        raise UsageError(f"{where}: expected one of {', '.join(FORGES)}, got {kind!r}")
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"{where}: expected OWNER/NAME, got {repository!r}")
    if not token_file:
        raise UsageError(f"{where}: a file with a token is needed", hint=f"{_TOKEN_FILE} FILE")
    base = (url or FORGES[kind]).rstrip("/")
    if not base:
        raise UsageError(f"{where}: {kind} needs the address of its server", hint=f"{_SERVER} URL")
    check_url(base, where)
    if base.startswith("http:") and not is_loopback(base):
        raise UsageError(f"{where}: a token is sent over https only")
    return CommitStatusTarget(type=kind, url=base, repository=repository, token_file=token_file)


def _configure(given: Mapping[str, str]) -> CommitStatusTarget | None:
    if not given[_REPO]:
        return None
    kind, _, repository = given[_REPO].partition(":")
    token_file = checked_secret_file(_TOKEN_FILE, given[_TOKEN_FILE])
    return commit_status_target(kind, repository, token_file, given[_SERVER])


KIND = SinkKind(
    options={
        _REPO: (
            "TYPE:OWNER/NAME",
            "mark the commits of a repository on github, gitlab or gitea with what became of them",
        ),
        _TOKEN_FILE: ("FILE", "token for that"),
        _SERVER: ("URL", "address of that server, unless it is the public one"),
    },
    configure=_configure,
)


@dataclass(frozen=True, kw_only=True)
class StatusUpdate:
    commit: str
    state: str
    description: str


def status_update(state: State) -> StatusUpdate | None:
    """Of what a pass left. None when what was applied is no commit."""
    commit = _COMMIT.fullmatch(state.attempted)
    if commit is None or not state.last_result:
        return None
    verdict, description = _verdict(state)
    return StatusUpdate(commit=commit[1], state=verdict, description=description[:LONGEST])


def _verdict(state: State) -> tuple[str, str]:
    ready = sum(_is_true(held, "Ready") for held in state.conditions.values())
    counted = f"{ready} of {len(state.conditions)} ready"
    if state.last_result == "converged":
        return SUCCESS, f"converged: {counted}"
    if state.last_result == "failed":
        return FAILURE, f"the pass could not be carried out: {state.last_error.partition(':')[0]}"
    stalled = sorted(name for name, held in state.conditions.items() if _is_stalled(held))
    if state.problems or stalled:
        problems = f"; {state.problems} problems in the manifests" if state.problems else ""
        names = f"; {len(stalled)} stalled: {', '.join(stalled)}" if stalled else ""
        return FAILURE, counted + problems + names
    return PENDING, f"work is left: {counted}"


def _is_true(held: Mapping[str, Condition], kind: str) -> bool:
    return kind in held and held[kind].status == "True"


def _is_stalled(held: Mapping[str, Condition]) -> bool:
    return _is_true(held, "Stalled") and held["Stalled"].reason not in USER_HOLDS


class StatusPublisher:
    """Keeps the status on one forge current. One thread steps it; `passed` may be called from another."""

    def __init__(self, target: CommitStatusTarget, context: SinkContext) -> None:
        self.name = f"status-{target.name}"
        self._target, self._cursor = target, context.cursor(f"status-{target.name}")
        self._context = f"reconciler/{safe_name(context.machine)}"
        self._wanted: StatusUpdate | None = None
        self._refused: StatusUpdate | None = None
        self._refusal = ""
        self._failures = 0
        self._due = 0.0
        self._sent = self._cursor.read() or {}

    def passed(self, state: State) -> None:
        self._wanted = status_update(state)

    def step(self) -> float | None:
        wanted = self._wanted
        if wanted is None or wanted == self._refused or self._sent == as_dict(wanted):
            return None
        left = self._due - time.monotonic()
        if left > 0.0:
            return left
        reply = self._send(wanted)
        if reply.good:
            self._sent, self._failures, self._refusal = as_dict(wanted), 0, ""
            self._cursor.write(self._sent)
            return 0.0  # there may be a newer one by now
        return self._failed(wanted, reply)

    def _failed(self, wanted: StatusUpdate, reply: Reply) -> float | None:
        """What is refused is not asked again until there is something else to say."""
        if str(reply) != self._refusal:
            self._refusal = str(reply)
            log.warning("commit_status.failed", target=self._target.name, problem=str(reply))
        if reply.refused:
            self._refused = wanted
            return None
        self._failures += 1
        rest = max(retry_after(self._failures), reply.rest)
        self._due = time.monotonic() + rest
        return rest

    def _send(self, wanted: StatusUpdate) -> Reply:
        try:
            token = read_secret(self._target.token_file).decode("ascii")
        except (NoSecret, UnicodeDecodeError) as error:
            return Reply(status=0, problem=f"its token: {error if isinstance(error, NoSecret) else 'no ASCII'}")
        if not token.isprintable():
            return Reply(status=0, problem="its token: more than one line")
        url, headers, body = request_for(self._target, wanted, self._context, token)
        return post(url, json.dumps(body).encode(), headers)


def request_for(
    target: CommitStatusTarget, wanted: StatusUpdate, context: str, token: str
) -> tuple[str, dict[str, str], dict[str, str]]:
    """URL, headers and body, as each forge wants them."""
    headers = {"Content-Type": "application/json", "User-Agent": "reconciler"}
    body = {"state": wanted.state, "context": context, "description": wanted.description}
    if target.type == "gitlab":
        project = target.repository.replace("/", "%2F")
        url = f"{target.url}/api/v4/projects/{project}/statuses/{wanted.commit}"
        state = "failed" if wanted.state == FAILURE else wanted.state
        return url, headers | {"PRIVATE-TOKEN": token}, body | {"state": state}
    path = f"repos/{target.repository}/statuses/{wanted.commit}"
    if target.type == "gitea":
        return f"{target.url}/api/v1/{path}", headers | {"Authorization": f"token {token}"}, body
    accept = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    return f"{target.url}/{path}", headers | accept | {"Authorization": f"Bearer {token}"}, body
