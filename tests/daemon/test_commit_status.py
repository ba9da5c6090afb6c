"""Commit statuses against a loopback server that looks like each forge."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.daemon.notifications.notifications import Notifications
from reconciler.daemon.notifications.sink import SinkContext
from reconciler.daemon.notifications.sinks.commit_status import CommitStatusTarget, StatusDelivery, status_update
from reconciler.daemon.state import Moment, State
from reconciler.domain.errors import UsageError
from reconciler.domain.layout import Layout
from reconciler.state.records import Records
from tests import canaries
from tests.daemon.faces import condition, conditions
from tests.daemon.receiver import Receiver, receiving, until

CANARY = canaries.secret("status")
COMMIT = "c0ffee12" * 5
READY = conditions(a=condition("Ready"))
WAITING = conditions(a=condition("Ready"), b=condition("Ready", "False", "NotServed"))
STALLED = {**READY, "b": {"Stalled": condition("Stalled", "True", "ConversionFailed")}}
SUSPENDED = {**READY, "b": {"Stalled": condition("Stalled", "True", "Suspended")}}
STATE = State(
    started=Moment.now(), interval=60.0, attempted=f"main@sha1:{COMMIT}", last_result="converged", conditions=READY
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "token"
    canaries.file(path, "status")
    return str(path)


def target(receiver: Receiver, token: str, kind: str = "github") -> CommitStatusTarget:
    return CommitStatusTarget(repository=f"{kind}:fleet/models", token_file=token, url=receiver.url)


def marker(tmp_path: Path, one: CommitStatusTarget) -> StatusDelivery:
    return StatusDelivery(one, SinkContext(machine="box", events="", layout=Layout(str(tmp_path / "root"))))


VERDICTS = {
    "converged": (STATE, "success", "converged: 1 of 1 ready"),
    "work is left": (replace(STATE, last_result="partly", conditions=WAITING), "pending", "work is left: 1 of 2 ready"),
    "something failed": (
        replace(STATE, last_result="partly", conditions=STALLED),
        "failure",
        "1 of 2 ready; 1 stalled: b",
    ),
    "a wish is no failure": (
        replace(STATE, last_result="partly", conditions=SUSPENDED),
        "pending",
        "work is left: 1 of 2 ready",
    ),
    "a manifest is wrong": (replace(STATE, last_result="partly", problems=2), "failure", "1 of 1 ready; 2 problems"),
    "no pass": (
        replace(STATE, last_result="failed", last_error="CatalogBroken: /secret/path"),
        "failure",
        "the pass could not be carried out: CatalogBroken",
    ),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_verdicts(case: str) -> None:
    state, verdict, description = VERDICTS[case]
    found = status_update(state)
    assert found is not None
    assert (found.commit, found.state, found.description) == (COMMIT, verdict, description)


@pytest.mark.parametrize(
    "revision",
    [
        "",
        "folder@sha256:" + COMMIT,
        "main@sha1:" + COMMIT[:39],
        "main@sha1:" + COMMIT.upper(),
        COMMIT,
        f"main@sha1:{COMMIT}\n",
    ],
)
def test_only_commits_get_one(revision: str) -> None:
    assert status_update(replace(STATE, attempted=revision)) is None


def test_before_the_first_pass_there_is_none() -> None:
    assert status_update(replace(STATE, last_result="")) is None


def test_a_description_is_short() -> None:
    many = {f"model-{n}-int4": {"Stalled": condition("Stalled", "True", "X")} for n in range(1000)}
    found = status_update(replace(STATE, last_result="partly", conditions=many))
    assert found is not None
    assert len(found.description) == 140


FORGES = {
    "github": (f"/repos/fleet/models/statuses/{COMMIT}", "Authorization", f"Bearer {CANARY}", "failure"),
    "gitea": (f"/api/v1/repos/fleet/models/statuses/{COMMIT}", "Authorization", f"token {CANARY}", "failure"),
    "gitlab": (f"/api/v4/projects/fleet%2Fmodels/statuses/{COMMIT}", "PRIVATE-TOKEN", CANARY, "failed"),
}


@pytest.mark.parametrize("kind", FORGES)
def test_each_forge_gets_what_it_reads(tmp_path: Path, receiver: Receiver, token: str, kind: str) -> None:
    one = marker(tmp_path, target(receiver, token, kind))
    one.passed(VERDICTS["something failed"][0])
    one.step()
    path, header, held, state = FORGES[kind]
    (got,) = receiver.got
    headers = {name.lower(): text for name, text in got.headers.items()}
    assert (got.path, headers[header.lower()]) == (path, held)
    assert got.json == {"state": state, "context": "reconciler/box", "description": "1 of 2 ready; 1 stalled: b"}


def test_it_is_sent_only_when_it_changes_also_after_a_restart(tmp_path: Path, receiver: Receiver, token: str) -> None:
    for _ in range(2):
        one = marker(tmp_path, target(receiver, token))
        for _ in range(3):
            one.passed(STATE)
            one.step()
    assert len(receiver.got) == 1
    one.passed(VERDICTS["work is left"][0])
    one.step()
    assert [got.json["state"] for got in receiver.got] == ["success", "pending"]


def test_only_the_newest_is_sent_after_an_outage(tmp_path: Path, receiver: Receiver, token: str) -> None:
    one = marker(tmp_path, target(receiver, token))
    receiver.status = 502
    one.passed(VERDICTS["work is left"][0])
    rest = one.step()
    assert rest is not None
    assert rest > 0.0
    one.passed(STATE)
    one.step()
    assert len(receiver.got) == 1  # it rests
    receiver.status, one._due = 201, 0.0
    one.step()
    assert [got.json["state"] for got in receiver.taken] == ["success"]


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_what_is_refused_is_not_hammered(
    tmp_path: Path, receiver: Receiver, token: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    one = marker(tmp_path, target(receiver, token))
    receiver.status = status
    for _ in range(5):
        one.passed(STATE)
        assert one.step() is None
    assert len(receiver.got) == 1
    one.passed(VERDICTS["work is left"][0])
    one.step()
    assert len(receiver.got) == 2
    said = "".join(capfd.readouterr())
    assert said.count("commit_status.failed") == 1
    assert CANARY not in said


def test_a_redirect_does_not_take_the_token_along(tmp_path: Path, receiver: Receiver, token: str) -> None:
    with receiving() as other:
        receiver.status, receiver.headers = 307, {"Location": f"{other.url}/"}
        one = marker(tmp_path, target(receiver, token))
        one.passed(STATE)
        one.step()
        assert other.got == []


def test_without_its_token_it_asks_nobody(tmp_path: Path, receiver: Receiver, token: str) -> None:
    one = marker(tmp_path, target(receiver, token + "-gone"))
    one.passed(STATE)
    assert one.step() is not None
    assert receiver.got == []


def test_in_a_thread_and_nothing_secret_is_kept(tmp_path: Path, receiver: Receiver, token: str) -> None:
    layout = Layout(str(tmp_path / "root"))
    records = Records(layout)
    context = SinkContext(machine="box", events=records.event_log, layout=layout)
    notifications = Notifications((target(receiver, token),), context, records)
    try:
        notifications.passed(STATE)
        until(lambda: len(receiver.taken) == 1)
        until(lambda: list((tmp_path / "root").rglob("status-*.json")) != [])
    finally:
        notifications.close()
    assert all(CANARY not in path.read_text() for path in (tmp_path / "root").rglob("*.json"))


BAD = {
    "an unknown forge": ("bitbucket", "a/b", "t", ""),
    "no repository": ("github", "models", "t", ""),
    "a repository that climbs": ("github", "../../admin/x", "t", ""),
    "no token": ("github", "a/b", "", ""),
    "a gitea without a server": ("gitea", "a/b", "t", ""),
    "a token in the clear": ("github", "a/b", "t", "http://example.com"),
    "an address in brackets that is none": ("github", "a/b", "t", "http://[127.0.0.1]:3000"),
    "a host behind a name": ("github", "a/b", "t", "http://127.0.0.1@example.com"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configuration_is_said(case: str) -> None:
    kind, repository, token_file, url = BAD[case]
    with pytest.raises(UsageError, match=r"^commit status: "):
        CommitStatusTarget(repository=f"{kind}:{repository}", token_file=token_file, url=url)
