"""Notifications and commit statuses as types of a machine's configuration: what the fields are and what they accept."""

from __future__ import annotations

import os.path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from reconciler.core.errors import UsageError
from reconciler.core.fields import REFUSAL, as_text, expect
from reconciler.core.outward import FORGES, CommitStatus, Sink, commit_status, sink
from reconciler.core.quoting import listed
from reconciler.core.strict import Strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 10  # receivers, and forges: each has a thread


def _absolute(path: str) -> str:
    if not os.path.isabs(path):
        raise ValueError
    return path


def _secretive(check: Callable[[], object]) -> None:
    """Says what is wrong without repeating the value, as other refusals do: a URL may be a secret."""
    try:
        check()
    except UsageError as error:
        context: dict[str, Any] = {"message": str(error), "hint": error.hint, "code": "InvalidValue"}
        raise PydanticCustomError(REFUSAL, "{message}", context) from None


def _url(url: str) -> str:
    _secretive(lambda: sink(url))
    return url


Url = Annotated[str, AfterValidator(_url), BeforeValidator(as_text)]
SecretFile = Annotated[
    str, Field(max_length=4096), AfterValidator(_absolute), expect("an absolute path", as_text)
]
SinkName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"),
    expect("a name of at most 40 of a-z, 0-9 and -", as_text),
]
Forge = Annotated[
    Literal["github", "gitlab", "gitea"], expect(listed(tuple(FORGES)), as_text, known=tuple(FORGES))
]
Text = Annotated[str, expect("text", as_text)]


class NotificationSpec(Strict):
    """A webhook that gets CloudEvents (docs/notifications.md)."""

    name: SinkName = Field(description="What it is called in logs; what it was told is remembered under it.")
    url: Url = Field(description="Where to: https, or http in a network that is trusted. No password in it.")
    secret_file: SecretFile | None = Field(default=None, description="File with the secret to sign with.")

    def as_sink(self) -> Sink:
        return sink(self.url, name=self.name, secret_file=self.secret_file or "")


class CommitStatusSpec(Strict):
    """A forge that shows beside each commit what this machine made of it."""

    type: Forge = Field(description="Which forge.")
    repository: Text = Field(description="OWNER/NAME there.")
    token_file: SecretFile = Field(description="File with a token that may set commit statuses.")
    url: Url | None = Field(default=None, description="Address of the server, unless it is the public one.")

    @model_validator(mode="after")
    def _fits(self) -> CommitStatusSpec:
        _secretive(self.as_commit_status)
        return self

    def as_commit_status(self) -> CommitStatus:
        return commit_status(self.type, self.repository, self.token_file, self.url or "")
