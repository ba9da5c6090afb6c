"""The role form of a Jinja template: found where it means exactly the same, refused by name where it does not."""

import random
import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.domain.manifest import Roles
from reconciler.templates.chat_template import CONTENT, jinja_of
from reconciler.templates.presets import PRESETS, preset
from reconciler.templates.role_form import roles_of
from reconciler.templates.role_trace import NotExact
from tests.chat import Refused, render
from tests.templates.test_chat_template import ROLES
from tests.templates.test_template_lint import PIECES as SYNTAX


def every(body: str) -> str:
    return "{%- for m in messages -%}" + body + "{%- endfor -%}"


def turn(role: str) -> str:
    return f"<|{role}|>\n{CONTENT}<|end|>\n"


TURN = "{{- '<|' + m['role'] + '|>\\n' + m['content'] + '<|end|>\\n' -}}"
BEGIN = "{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}"
OPENING = "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
MOVING = "{{- m.role + '|>\\n' + m.content + '<|end|>\\n' -}}{%- if not loop.last -%}{{- '<|' -}}{%- endif -%}"
TURNS = Roles(
    system=turn("system"), user=turn("user"), assistant=turn("assistant"), prompt=turn("user") + "<|assistant|>\n"
)
BARE = Roles(system=CONTENT, user=CONTENT, assistant=CONTENT, prompt=CONTENT)

# As authors write them, and the one role form of each.
EXACT: dict[str, tuple[str, Roles]] = {
    "any role is written": (every(TURN) + BEGIN, TURNS),
    "attributes, joined with ~": (
        every("{{- '<|' ~ m.role ~ '|>\\n' ~ m.content ~ '<|end|>\\n' -}}") + BEGIN,
        TURNS,
    ),
    "text outside of tags": (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}" + OPENING,
        TURNS,
    ),
    "a branch for each role": (
        every(
            "".join(
                f"{{%- {word} m.role == '{role}' -%}}{{{{- '<|{role}|>\\n' + m.content + '<|end|>\\n' -}}}}"
                for word, role in (("if", "system"), ("elif", "user"), ("elif", "assistant"))
            )
            + "{%- else -%}{{- raise_exception('what is ' + m.role) -}}{%- endif -%}"
        )
        + BEGIN,
        TURNS,
    ),
    "names for what is the same": (
        "{%- set end = '<|end|>' + '\\n' -%}"
        + every(
            "{%- set role = m.role -%}{%- set said = m.content -%}{{- '<|' + role + '|>\\n' + said + end -}}"
        )
        + BEGIN,
        TURNS,
    ),
    "the answer begins inside the loop": (
        every(
            TURN + "{%- if loop.last and add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}"
        ),
        TURNS,
    ),
    "the system message on its own": (
        "{%- if messages[0]['role'] == 'system' -%}"
        "{{- '<|system|>\\n' + messages[0]['content'] + '<|end|>\\n' -}}{%- set rest = messages[1:] -%}"
        "{%- else -%}{%- set rest = messages -%}{%- endif -%}"
        "{%- for m in rest -%}" + TURN + "{%- endfor -%}" + BEGIN,
        TURNS,
    ),
    "questions with one answer": (
        "{%- if add_generation_prompt is not defined -%}{%- set add_generation_prompt = false -%}{%- endif -%}"
        + every(
            "{%- if m.content is string and m.content is not none and m.role in ['system', 'user', 'assistant'] -%}"
            + TURN
            + "{%- endif -%}"
        )
        + BEGIN,
        TURNS,
    ),
    "tools behind a role that is not spoken of": (
        every("{%- if m.role == 'tool' -%}{{- m.tool_calls | tojson -}}{%- else -%}" + TURN + "{%- endif -%}")
        + BEGIN,
        TURNS,
    ),
    "another name for a role": (
        every(
            "{%- set role = 'model' if m.role == 'assistant' else m.role -%}"
            "{{- '[' + role + ']' + m.content -}}"
        )
        + "{{- '[model]' if add_generation_prompt else '' -}}",
        Roles(
            system=f"[system]{CONTENT}",
            user=f"[user]{CONTENT}",
            assistant=f"[model]{CONTENT}",
            prompt=f"[user]{CONTENT}[model]",
        ),
    ),
    "the last question looks otherwise": (
        every(
            "{%- if m.role == 'user' and loop.last and add_generation_prompt -%}{{- 'P' + m.content -}}"
            "{%- else -%}{{- m.content -}}{%- endif -%}"
        ),
        Roles(system=CONTENT, user=CONTENT, assistant=CONTENT, prompt=f"P{CONTENT}"),
    ),
    "no system messages": (
        every(
            "{%- if m.role == 'system' -%}{{- raise_exception('none') -}}{%- endif -%}{{- m.content -}}"
        ),
        Roles(user=CONTENT, assistant=CONTENT, prompt=CONTENT),
    ),
    "nothing around": (every("{{- m.content -}}"), BARE),
    "quotes, braces and other scripts": (
        every("{{- \"it's {{ x }}\" + '\"\\\\' + m.content + 'Čaj 😀\\t' -}}"),
        Roles(**dict.fromkeys(("system", "user", "assistant", "prompt"), f"it's {{{{ x }}}}\"\\{CONTENT}Čaj 😀\t")),
    ),
    "a text that moves from one message to the next": (
        "{{- '<|' -}}" + every(MOVING) + BEGIN,
        TURNS,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("template", "roles"), EXACT.values(), ids=EXACT)
def test_an_exact_role_form_is_found(template: str, roles: Roles) -> None:
    assert roles_of(template).roles == roles


@pytest.mark.parametrize("name", [name for name in PRESETS if preset(name).roles])
def test_the_presets_that_were_roles_come_back(name: str) -> None:
    template = preset(name)
    assert template.jinja is not None
    assert roles_of(template.jinja).roles == template.roles


@settings(max_examples=15, deadline=None)
@given(ROLES)
def test_there_and_back(roles: Roles) -> None:
    """Defaults are written out: `user` as `prompt`, an answer as it is."""
    expected = Roles(
        system=roles.system, user=roles.user or roles.prompt, assistant=roles.assistant or CONTENT, prompt=roles.prompt
    )
    assert roles_of(jinja_of(roles)).roles == expected


def test_what_a_token_is_can_be_told() -> None:
    template = every("{{- m.content + eos_token -}}")
    with pytest.raises(NotExact) as refused:
        roles_of(template)
    assert "--eos-token" in refused.value.hint
    assert roles_of(template, {"eos_token": "</s>"}).roles.user == f"{CONTENT}</s>"


def test_other_roles_are_told_of() -> None:
    (note,) = roles_of(every(TURN)).notes
    assert "other roles" in note
    assert roles_of(jinja_of(TURNS)).notes == ()


DEPENDS = "depends on the content"
NOT_EXACT: dict[str, tuple[str, int, str]] = {
    "a filter on a message": (every("\n{{- m.content | trim -}}"), 2, "the filter trim"),
    "a method": (every("{{- m.content.strip() -}}"), 1, "the method strip"),
    "a message that decides": (every("{%- if m.content -%}\n{{- m.content -}}{%- endif -%}"), 1, DEPENDS),
    "a message compared": (every("{%- if m.content == 'x' -%}{%- endif -%}{{- m.content -}}"), 1, DEPENDS),
    "a message searched": (every("{%- if 'x' in m.content -%}{%- endif -%}{{- m.content -}}"), 1, "comparison"),
    "a part of a message": (every("{{- m.content[1:] -}}"), 1, "takes apart"),
    "an earlier message": (every("{{- messages[0].content + m.content -}}"), 1, "more than once"),
    "tools": (every(TURN) + "\n{%- if tools -%}x{%- endif -%}", 2, "asks for tools"),
    "tools that may be there": (every("{%- if tools is defined -%}x{%- endif -%}" + TURN), 1, "asks for tools"),
    "thinking": (every(TURN) + "{%- if enable_thinking is defined -%}{%- endif -%}", 1, "enable_thinking"),
    "the date": ("{{- strftime_now('%d') -}}" + every(TURN), 1, "the function strftime_now"),
    "a number": (every("{{- loop.index -}}" + TURN), 1, "loop.index"),
    "turns that must alternate": (
        every("{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}{{- raise_exception('') -}}{%- endif -%}" + TURN),
        1,
        "no role pattern can do what the expression Mod does",
    ),
    "a namespace": ("{%- set ns = namespace(x='') -%}" + every(TURN), 1, "the function namespace"),
    "a macro": ("{%- macro f(m) -%}{{ m.content }}{%- endmacro -%}" + every("{{- f(m) -}}"), 1, "the tag macro"),
    "calls of a message": (every("{{- m.content -}}{%- if m.tool_calls -%}x{%- endif -%}"), 1, "tool_calls"),
    "the beginning of a text": ("{{- bos_token -}}" + every(TURN), 1, "asks for bos_token"),
    "a text at the beginning": ("\n{{- '<s>' -}}\n" + every(TURN), 2, "'<s>' before the messages"),
    "a system message that nobody wrote": (
        "{%- if messages[0].role != 'system' -%}\n{{- 'Be kind.' -}}{%- endif -%}" + every(TURN),
        2,
        "'Be kind.' before the messages",
    ),
    "a text at the end": (every(TURN) + "\n{{- '<end>' -}}", 2, "'<end>' after the messages"),
    "the first in another way": (every("{%- if loop.first -%}\n!{%- endif -%}" + TURN), 2, "of system, system"),
    "the last in another way": (every("{{- m.content -}}{%- if not loop.last -%}\n{{- '!' -}}{%- endif -%}"), 2, "'!'"),
    "by the role of the first": (
        every("{%- if messages[0].role == 'system' -%}\n{{- '!' -}}{%- endif -%}" + TURN),
        2,
        "of system, user it writes '!'",
    ),
    "by the role of the last": (every("{{- messages[-1].role -}}" + TURN), 1, "of system, user it writes 'user'"),
    "a beginning after the user only": (
        every(TURN) + "{%- if add_generation_prompt and messages[-1].role == 'user' -%}{{- '!' -}}{%- endif -%}",
        1,
        "writes less",
    ),
    "a role that is left out": (every("{%- if m.role != 'system' -%}" + TURN + "{%- endif -%}"), 0, "leaves out"),
    "a role that is refused": (
        every("{%- if m.role == 'assistant' -%}\n{{- raise_exception('') -}}{%- endif -%}" + TURN),
        2,
        "refuses a conversation that begins with the assistant",
    ),
    "a system message in the middle": (
        every("{%- if m.role == 'system' and not loop.first -%}\n{{- raise_exception('') -}}{%- endif -%}" + TURN),
        2,
        "refuses a conversation of system, system",
    ),
    "a system message at the beginning": (
        "{%- if messages[0].role == 'system' -%}{{- raise_exception('') -}}{%- endif -%}" + every(TURN),
        0,
        "refuses one that begins with the system",
    ),
    "what was written before": (
        every("{%- if m.role == 'user' -%}{%- set seen = 'x' -%}{%- endif -%}\n{{- seen + m.content -}}"),
        2,
        "takes seen from one message to the next",
    ),
    "two rounds": (every("{{- m.role -}}") + "\n" + every("{{- m.content -}}"), 2, "more than once"),
    "a round inside": (every(every("{{- m.content -}}")), 1, "more than once"),
    "some of the messages": ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", 1, "some of"),
    "leaving early": (every(TURN + "{%- break -%}"), 1, "the tag break"),
    "a message twice": (every("{{- m.content + m.content -}}"), 1, "more than once"),
    "the mark of the role form": (every("{{- '{Content}' + m.content -}}"), 1, "writes {Content} itself"),
    "a mark put together": (every("{{- '{Con' -}}{{- 'tent}' + m.content -}}"), 1, "{Content} itself"),
    "one without else": (every("{{- 'x' if m.role == 'user' -}}" + TURN), 1, "no `else`"),
    "numbers": (every("{{- 7 -}}" + TURN), 1, "numbers"),
    "an or that Python reads otherwise": (every("{{- m.role or 'x' -}}" + TURN), 1, "no text"),
    "a very long pattern": (every("{{- '" + "x" * 17000 + "' + m.content -}}"), 1, "16,384"),
    "no Jinja": ("{{ messages", 1, "expected Jinja"),
    "unknown words": (every(TURN) + "\n{{- 'x' | nosuch -}}", 2, "nosuch"),
}  # fmt: skip


@pytest.mark.parametrize(("template", "line", "said"), NOT_EXACT.values(), ids=NOT_EXACT)
def test_what_is_not_exact_is_refused_by_name(template: str, line: int, said: str) -> None:
    with pytest.raises(NotExact) as refused:
        roles_of(template)
    assert said in str(refused.value)
    assert refused.value.line == line
    assert "\n" not in str(refused.value)


# Pieces that are put together at random: whatever is accepted must be exact, in conversations longer than those that
# were compared, and with messages that say anything.
PIECES = st.sampled_from(
    [
        "{{- m.content -}}",
        "{{- m.role -}}",
        "{{- 'a' -}}",
        "{{- 'ab' -}}",
        "{{- 'b' + m.content -}}",
        "{%- if loop.first -%}{{- 'a' -}}{%- endif -%}",
        "{%- if not loop.last -%}{{- 'a' -}}{%- endif -%}",
        "{%- if loop.last -%}{{- 'a' -}}{%- endif -%}",
        "{%- if loop.last and add_generation_prompt -%}{{- 'c' -}}{%- endif -%}",
        "{%- if m.role == 'user' -%}{{- 'a' -}}{%- else -%}{{- 'b' -}}{%- endif -%}",
        "{%- if m.role == 'user' and loop.last and add_generation_prompt -%}{{- 'a' -}}{%- endif -%}",
        "{%- if m.role == 'system' -%}{{- raise_exception('') -}}{%- endif -%}",
        "{%- if messages[0].role == 'system' -%}{{- 'a' -}}{%- endif -%}",
        "{%- if messages[-1].role == 'user' -%}{{- 'a' -}}{%- endif -%}",
        "{%- set x = 'a' -%}{{- x -}}",
    ]
)
ON_ITS_OWN = (
    "{%- if messages[0].role == 'system' -%}{{- messages[0].content -}}{%- set messages = messages[1:] -%}{%- endif -%}"
)
OUTSIDE = st.sampled_from(
    [
        "",
        "{{- 'a' -}}",
        "{{- messages[0].content -}}",
        "{%- if add_generation_prompt -%}{{- 'a' -}}{%- endif -%}",
        "{%- if messages[0].role == 'user' -%}{{- 'a' -}}{%- endif -%}",
        "{%- if messages[-1].role == 'user' -%}{{- 'a' -}}{%- endif -%}",
        ON_ITS_OWN,
    ]
)
SPOKEN = "{{- m.role -}}{{- m.content -}}"  # in each, so that one in ten is accepted
TEMPLATES = st.builds(
    lambda before, first, last, after: before + every(first + SPOKEN + last) + after,
    st.just("") | OUTSIDE,
    st.just("") | PIECES,
    st.just("") | PIECES,
    st.just("") | OUTSIDE,
)
CONTENTS = ("", "a", "ab", "ba", "{Content}", "x")


def conversations() -> list[list[dict[str, str]]]:
    """Of up to eight messages; the same in every run."""
    chance = random.Random(7)

    def message() -> dict[str, str]:
        return {"role": chance.choice(["system", "user", "assistant"]), "content": chance.choice(CONTENTS)}

    return [[message() for _ in range(length)] for length in (1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8)]


def said(template: str, messages: list[dict[str, str]], asked: bool) -> str | None:
    try:
        return render(template, messages, asked)
    except Refused:
        return None


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(TEMPLATES)
def test_whatever_is_accepted_is_exact(template: str) -> None:
    try:
        form = jinja_of(roles_of(template).roles)
    except NotExact:
        return
    for messages, asked in product(conversations(), (False, True)):
        assert said(template, messages, asked) == said(form, messages, asked)


@settings(deadline=None)
@given(st.lists(SYNTAX, max_size=30).map("".join))
def test_whatever_comes_there_is_an_answer(template: str) -> None:
    said = refusal(every(SPOKEN + template))
    assert said.isprintable()
    assert len(said) < 300


def refusal(template: str) -> str:
    """Empty where there is a role form."""
    try:
        roles_of(template)
    except NotExact as refused:
        return str(refused)
    return ""


HOSTILE = {
    "doubled texts": every("{%- set a = 'x' -%}" + "{%- set a = a + a -%}" * 60 + "{{- a -}}"),
    "doubled with ~": every("{%- set a = m.content -%}" + "{%- set a = a ~ a -%}" * 60 + "{{- a -}}"),
    "long texts many times": every("{%- set a = '" + "x" * 50000 + "' -%}" + "{{- a -}}" * 1000),
    "thousands of tags": every("{{- 'x' -}}" * 5000 + "{{- m.content -}}"),
    "a long chain": every("{{- 'x'" + " + 'x'" * 8000 + " -}}"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_is_refused_within_seconds(template: str) -> None:
    begin = time.process_time()
    with pytest.raises(NotExact):
        roles_of(template)
    assert time.process_time() - begin < 10
