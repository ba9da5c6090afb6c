"""The role form means what its page says, and its Jinja means the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.manifest import Roles
from reconciler.templates.chat_template import CONTENT, jinja_of
from reconciler.templates.lint import lint
from tests.chat import Refused, render

USER, ASSISTANT, SYSTEM = ({"role": role, "content": role[0]} for role in ("user", "assistant", "system"))
FULL = Roles(system="S[{Content}]", user="U[{Content}]", assistant="A[{Content}]", prompt="U[{Content}]A[")
OTHER = Roles(system="S[{Content}]", user="U[{Content}]", assistant="A[{Content}]", prompt="P[{Content}]")
BARE = Roles(prompt="<{Content}>")


def expected(roles: Roles, messages: list[dict[str, str]], asked: bool) -> str:
    """The role form, read from its definition."""
    user = roles.user or roles.prompt
    patterns = {"system": roles.system, "user": user, "assistant": roles.assistant or CONTENT}
    turns = [patterns[message["role"]] for message in messages]
    ending = ""
    if asked and messages[-1]["role"] == "user":
        turns[-1] = roles.prompt
    elif asked and roles.prompt.startswith(user):
        ending = roles.prompt.removeprefix(user)
    texts = [turn.replace(CONTENT, message["content"]) for turn, message in zip(turns, messages, strict=True)]
    return "".join(texts) + ending


@pytest.mark.parametrize(
    ("roles", "messages", "asked", "text"),
    [
        (FULL, [USER], True, "U[u]A["),
        (FULL, [USER], False, "U[u]"),
        (FULL, [SYSTEM, USER, ASSISTANT, USER], True, "S[s]U[u]A[a]U[u]A["),
        (FULL, [USER, ASSISTANT], True, "U[u]A[a]A["),
        (OTHER, [USER, ASSISTANT, USER], True, "U[u]A[a]P[u]"),
        (OTHER, [USER, ASSISTANT, USER], False, "U[u]A[a]U[u]"),
        (OTHER, [USER, ASSISTANT], True, "U[u]A[a]"),
        (BARE, [USER, ASSISTANT, USER], True, "<u>a<u>"),
    ],
)
def test_a_conversation_in_the_role_form(roles: Roles, messages: list[dict[str, str]], asked: bool, text: str) -> None:
    assert render(jinja_of(roles), messages, asked) == text == expected(roles, messages, asked)


@pytest.mark.parametrize("message", [SYSTEM, {"role": "tool", "content": "t"}])
def test_a_role_without_a_pattern_is_never_left_out_in_silence(message: dict[str, str]) -> None:
    with pytest.raises(Refused, match="no pattern for the role"):
        render(jinja_of(BARE), [message, USER], True)


LITERAL = st.text(
    st.sampled_from("{}%#'\"\\\n\t\r |-a é😀") | st.characters(exclude_categories=["Cc", "Cs"]), max_size=12
).filter(lambda text: CONTENT not in text)
PATTERN = st.builds(lambda before, after: f"{before}{CONTENT}{after}", LITERAL, LITERAL).filter(
    lambda text: text.count(CONTENT) == 1
)
ROLES: st.SearchStrategy[Any] = st.builds(
    Roles, system=st.just("") | PATTERN, user=st.just("") | PATTERN, assistant=st.just("") | PATTERN, prompt=PATTERN
)
MESSAGES = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant"]),
        st.text(st.sampled_from("{}%'\"\\\n a") | st.characters(exclude_categories=["Cc", "Cs"]), max_size=8),
    ),
    min_size=1,
    max_size=4,
)


@given(ROLES, MESSAGES, st.booleans())
def test_any_literal_text_survives(roles: Roles, messages: list[dict[str, str]], asked: bool) -> None:
    assert render(jinja_of(roles), messages, asked) == expected(roles, messages, asked)


@given(ROLES)
def test_what_is_made_from_roles_passes_our_own_lint(roles: Roles) -> None:
    assert [finding for finding in lint(jinja_of(roles).encode()) if finding.serious] == []
