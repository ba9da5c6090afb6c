"""The commit-status sink: marks the commit that the last pass applied, on GitHub, GitLab or Gitea.

The status is derived from what the last pass left, and sent when it differs from the one sent last. Nothing is queued.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.daemon.notifications.cloud_events import safe_name
from reconciler.daemon.notifications.post import Reply, check_url, post
from reconciler.daemon.notifications.sink import Delivery, SinkContext, SinkKind
from reconciler.daemon.secret_file import NoSecret, read_secret
from reconciler.daemon.state import State
from reconciler.domain.errors import UsageError
from reconciler.domain.machine.registries import is_loopback
from reconciler.domain.machine.sink_settings import Section, Setting
from reconciler.domain.plain_data import as_dict
from reconciler.domain.reasons import USER_HOLDS
from reconciler.domain.recorded import Condition
from reconciler.domain.text.quoting import count_of
from reconciler.engine import log

PENDING, SUCCESS, FAILURE = "pending", "success", "failure"
LONGEST = 140  # characters of a description that GitHub takes
FORGES = {"github": "https://api.github.com", "gitlab": "https://gitlab.com", "gitea": ""}
_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
_COMMIT = re.compile(r".+@sha1:([0-9a-f]{40})")  # how a revision that is a commit is written


@dataclass(frozen=True, kw_only=True)
class CommitStatusTarget:
    """`repository` is TYPE:OWNER/NAME. Raises UsageError."""

    repository: str
    token_file: str
    url: str = ""

    def __post_init__(self) -> None:
        where = "commit status"
        if self.forge not in FORGES:
            raise UsageError(f"{where}: expected one of {', '.join(FORGES)}, got {self.forge!r}")
        if not _REPOSITORY.fullmatch(self.project):
            raise UsageError(f"{where}: expected OWNER/NAME, got {self.project!r}")
        if not self.token_file:
            raise UsageError(f"{where}: a file with a token is needed", hint="--commit-status-token-file FILE")
        if not self.server:
            raise UsageError(f"{where}: {self.forge} needs the address of its server", hint="--commit-status-url URL")
        check_url(self.server, where)
        if self.server.startswith("http:") and not is_loopback(self.server.split("/")[2]):
            raise UsageError(f"{where}: a token is sent over https only")

    @property
    def forge(self) -> str:
        return self.repository.partition(":")[0]

    @property
    def project(self) -> str:
        return self.repository.partition(":")[2]

    @property
    def server(self) -> str:
        return (self.url or FORGES[self.forge]).rstrip("/")

    def open(self, context: SinkContext) -> "StatusDelivery":
        return StatusDelivery(self, context)


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
    held_up = {name: held["Stalled"] for name, held in state.conditions.items() if _is_true(held, "Stalled")}
    stalled = sorted(name for name, condition in held_up.items() if condition.reason not in USER_HOLDS)
    if state.problems or stalled:
        problems = f"; {count_of(state.problems, 'problem')}" if state.problems else ""
        names = f"; {len(stalled)} stalled: {', '.join(stalled)}" if stalled else ""
        return FAILURE, counted + problems + names
    return PENDING, f"work is left: {counted}"


def _is_true(held: Mapping[str, Condition], kind: str) -> bool:
    return kind in held and held[kind].status == "True"


class StatusDelivery(Delivery[StatusUpdate]):
    """Keeps the status on one forge current."""

    kind = "commit_status"

    def __init__(self, target: CommitStatusTarget, context: SinkContext) -> None:
        super().__init__("status-" + re.sub(r"[:/_.]", "-", f"{target.forge}:{target.project.lower()}"), context)
        self._target = target
        self._context = f"reconciler/{safe_name(context.machine)}"
        self._wanted: StatusUpdate | None = None
        self._refused: StatusUpdate | None = None
        self._refusal = ""
        self._sent = dict(self._progress.read() or {})

    def passed(self, state: State) -> None:
        self._wanted = status_update(state)

    def messages(self) -> Iterator[StatusUpdate]:
        """The newest status; after it there may be a newer one by now."""
        while (wanted := self._wanted) is not None and wanted != self._refused and as_dict(wanted) != self._sent:
            yield wanted

    def send(self, message: StatusUpdate) -> Reply:
        secret = read_secret(self._target.token_file)
        token = secret.decode("ascii", "replace")
        if not (secret.isascii() and token.isprintable()):
            raise NoSecret("expected one line of ASCII")
        url, headers, body = request_for(self._target, message, self._context, token)
        return post(url, json.dumps(body).encode(), headers)

    def gives_up(self, message: StatusUpdate, reply: Reply) -> bool:
        """What is refused is not asked again until the status changes."""
        return reply.refused

    def settle(self, message: StatusUpdate, reply: Reply) -> None:
        if reply.good:
            self._sent, self._refusal = as_dict(message), ""
            self._progress.write(self._sent)
            return
        self._refused = message
        if str(reply) != self._refusal:
            self._refusal = str(reply)
            log.warning("commit_status.failed", sink=self.name, problem=str(reply))


def request_for(
    target: CommitStatusTarget, wanted: StatusUpdate, context: str, token: str
) -> tuple[str, dict[str, str], dict[str, str]]:
    """URL, headers and body, as each forge wants them."""
    headers = {"Content-Type": "application/json", "User-Agent": "reconciler"}
    body = {"state": wanted.state, "context": context, "description": wanted.description}
    if target.forge == "gitlab":
        project = target.project.replace("/", "%2F")
        url = f"{target.server}/api/v4/projects/{project}/statuses/{wanted.commit}"
        state = "failed" if wanted.state == FAILURE else wanted.state
        return url, headers | {"PRIVATE-TOKEN": token}, body | {"state": state}
    path = f"repos/{target.project}/statuses/{wanted.commit}"
    if target.forge == "gitea":
        return f"{target.server}/api/v1/{path}", headers | {"Authorization": f"token {token}"}, body
    accept = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    return f"{target.server}/{path}", headers | accept | {"Authorization": f"Bearer {token}"}, body


KIND = SinkKind(
    section=Section(
        name="commit_status",
        meaning="Where a daemon marks commits with what became of them.",
        settings={
            "repository": Setting(
                flag="--commit-status",
                metavar="TYPE:OWNER/NAME",
                meaning="mark the commits of a repository on github, gitlab or gitea with what became of them",
            ),
            "token_file": Setting(
                flag="--commit-status-token-file", metavar="FILE", meaning="token for that", kind="secret"
            ),
            "url": Setting(
                flag="--commit-status-url", metavar="URL", meaning="address of that server, unless it is the public one"
            ),
        },
    ),
    target=CommitStatusTarget,
)
