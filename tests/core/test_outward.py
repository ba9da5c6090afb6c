"""Notifications and commit statuses as a machine's configuration writes them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.core.loader import Plain
from reconciler.core.outward import CommitStatus, Sink
from reconciler.core.outward_schema import CommitStatusSpec, NotificationSpec

SINK = {"name": Plain("ops"), "url": Plain("https://hooks.example/x"), "secretFile": Plain("/etc/secret")}
STATUS = {"type": Plain("github"), "repository": Plain("fleet/models"), "tokenFile": Plain("/etc/token")}


def test_a_sink() -> None:
    made = NotificationSpec.model_validate(SINK).as_sink()
    assert (made.name, made.url, made.secret_file) == ("ops", "https://hooks.example/x", "/etc/secret")
    assert isinstance(made, Sink)


def test_a_commit_status() -> None:
    made = CommitStatusSpec.model_validate(STATUS).as_commit_status()
    assert isinstance(made, CommitStatus)
    assert (made.type, made.url, made.repository, made.token_file) == (
        "github",
        "https://api.github.com",
        "fleet/models",
        "/etc/token",
    )


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a password in a URL": (
        NotificationSpec,
        SINK | {"url": Plain("https://u:canary@x/")},
        "without a password",
    ),
    "no URL": (NotificationSpec, SINK | {"url": Plain("canary")}, "expected a URL"),
    "a name": (NotificationSpec, SINK | {"name": Plain("Ops!")}, "expected a name of at most 40"),
    "a relative file": (
        NotificationSpec,
        SINK | {"secretFile": Plain("secret")},
        "expected an absolute path",
    ),
    "another forge": (CommitStatusSpec, STATUS | {"type": Plain("svn")}, "expected github, gitlab or gitea"),
    "a gitea without a server": (CommitStatusSpec, STATUS | {"type": Plain("gitea")}, "needs the address"),
    "no repository": (CommitStatusSpec, STATUS | {"repository": Plain("models")}, "expected OWNER/NAME"),
    "in the clear": (CommitStatusSpec, STATUS | {"url": Plain("http://git.example")}, "over https only"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_without_the_secret(case: str) -> None:
    kind, data, said = BAD[case]
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(data)
    messages = [error["msg"] for error in refused.value.errors()]
    assert any(said in message for message in messages), messages
    assert not any("canary" in message for message in messages)
