"""What is said about a chat template that nobody has rendered yet."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.templates.lint import lint, renders_nothing

LOOP = "{%- for m in messages -%}{{ m.content }}{%- endfor -%}"


def findings(template: str) -> list[tuple[str, int]]:
    return [(finding.code, finding.line) for finding in lint(template.encode())]


@pytest.mark.parametrize(
    "template",
    [
        LOOP,
        LOOP + "\n",
        "{%- for m in messages -%}\n  {{- m['content'] -}}\n{%- endfor -%}\n",
        "{%- generation -%}{{ messages }}{%- endgeneration -%}",
        "{%- set ns = namespace(x=0) -%}{%- for m in messages[1:] if m.role != 'x' -%}{%- break -%}{%- endfor -%}",
        "{%- macro one(m) -%}{{ m.content | trim }}{%- endmacro -%}{{ one(messages[0]) }}",
        "{%- for i in range(messages | length) -%}{{ messages[i] | tojson }}{%- endfor -%}",
        "{{ raise_exception('no') }}{{ strftime_now('%d') }}{{ messages | selectattr('role', '==', 'x') | list }}",
        "{# a comment #}{{- messages[0].content * 2 -}}",
    ],
)
def test_a_template_as_model_authors_write_them_is_fine(template: str) -> None:
    assert findings(template) == []


@pytest.mark.parametrize(
    ("template", "code", "line"),
    [
        ("{{ messages }}{% include 'x' %}", "TemplateUnsafe", 1),
        ("{{ messages }}\n{{ ''.__class__ }}", "TemplateUnsafe", 2),
        ("{{ messages }}\n{{ messages['__class__'] }}", "TemplateUnsafe", 2),
        ("{{ messages }}{{ lipsum.__globals__ }}", "TemplateUnsafe", 1),
        ("{{ messages | attr('x') }}", "TemplateUnsafe", 1),
        ("{% extends 'x' %}{{ messages }}", "TemplateUnsafe", 1),
        ("{% import 'x' as x %}{{ messages }}", "TemplateUnsafe", 1),
        ("{% from 'x' import y %}{{ messages }}", "TemplateUnsafe", 1),
        ("{{ messages }}{{ 9**9**9 }}", "TemplateUnsafe", 1),
        ("{{ messages }}{{ 'a' * 100000000 }}", "TemplateUnsafe", 1),
        ("{{ messages }}{{ 'a' * 999 * 999 * 999 }}", "TemplateUnsafe", 1),
        ("{{ messages }}{% for i in range(10**9) %}{% endfor %}", "TemplateUnsafe", 1),
        ("{{ messages }}{% for i in range(99999999) %}{% endfor %}", "TemplateUnsafe", 1),
        (
            "{{ messages }}{% for i in range(999) %}\n{% for j in range(999) %}{% endfor %}{% endfor %}",
            "TemplateUnsafe",
            2,
        ),
        ("{% if messages %}" * 300 + "{% endif %}" * 300, "TemplateTooNested", 0),
        ("{{ " + "(" * 5000 + "messages" + ")" * 5000 + " }}", "TemplateTooNested", 0),
        ("hello", "TemplateIgnoresMessages", 0),
        ("{# messages #}", "TemplateIgnoresMessages", 0),
        ("{% for m in messages %}\n{{ m.role }}: {{ m.contnet }}{% endfor %}", "TemplateIgnoresMessages", 2),
        ("{% for m in messages %}{{ m.role }}{{ m.contents }}{% endfor %}", "TemplateIgnoresMessages", 1),
        ("{% for m in messages %}{{ m['contents'] }}{% endfor %}", "TemplateIgnoresMessages", 1),
        (
            "{% for m in messages %}{{ m['role'] }}{{ m['Contents'] }}{{ bos_token }}{% endfor %}",
            "TemplateIgnoresMessages",
            1,
        ),
        ("{{ messages }}\n{% if %}", "TemplateSyntax", 2),
        ("{{ messages ", "TemplateSyntax", 1),
        ("{{ messages }}{% unknown %}", "TemplateSyntax", 1),
        ("{{ messages }}\n{{ x | nosuchfilter }}", "TemplateUnknown", 2),
        ("{{ messages }}\n{{ messages | map('upper') | list }}", "TemplateUnknown", 2),
        ("{{ messages | selectattr('role', 'eq', 'user') | list }}", "TemplateUnknown", 1),
        ("{{ messages is nosuchtest }}", "TemplateUnknown", 1),
        ("{{ messages }}\n{{ nosuch('x') }}", "TemplateUnknown", 2),
        ("{{ messages[0].content.upper() }}", "TemplateUnknown", 1),
        ("{{ messages }}{% filter upper %}x{% endfilter %}", "TemplateUnknown", 1),
        ("{{ messages }}{% if tools %}{{ tools | nosuchfilter }}{% endif %}", "TemplateUnknown", 1),
        ("{{ messages }}{% if tools %}{% with x = 1 %}{% endwith %}{% endif %}", "TemplateUnknown", 1),
        ("{% if not tools %}{% endif %}{{ messages | first }}", "TemplateUnknown", 1),
        ("{{ messages }}\n{% raw %}{% endraw %}", "TemplateUnknown", 2),
        ("\ufeff" + LOOP, "TemplateUnreadable", 1),
        (LOOP + "\r\n", "TemplateUnreadable", 1),
        ("\n" + LOOP + "\x00", "TemplateUnreadable", 2),
        (LOOP + " " * 65536, "TemplateTooLarge", 0),
    ],
)
def test_what_has_no_business_in_a_chat_template_is_serious(template: str, code: str, line: int) -> None:
    found = [finding for finding in lint(template.encode()) if finding.serious]
    assert (found[0].code, found[0].line) == (code, line)
    assert {finding.code for finding in found} == {code}


@pytest.mark.parametrize(
    "template",
    [
        "{%- if tools -%}{{- tools | first -}}{%- endif -%}{{- messages -}}",
        "{%- if thinking is defined and thinking is false -%}x{%- endif -%}{{- messages -}}",
        "{{- messages if tools is none else tools | upper -}}",
        "{%- if now is defined -%}{{- now('%d') -}}{%- endif -%}{{- messages -}}",
    ],
)
def test_what_may_never_be_reached_is_only_worth_a_warning(template: str) -> None:
    assert [(f.code, f.serious) for f in lint(template.encode())] == [("TemplateUnknown", False)]


def test_what_the_runtime_does_not_know_is_named_with_what_to_write() -> None:
    (finding,) = lint(b"{{ messages }}\n{{ messages | lenght }}")
    assert finding.message == "expected a filter that the runtime knows, got lenght"
    assert finding.hint == "did you mean length?"


def test_other_encodings_are_unreadable() -> None:
    assert [finding.code for finding in lint(LOOP.encode("utf-16"))] == ["TemplateUnreadable"]
    assert [finding.code for finding in lint("é".encode("latin-1"))] == ["TemplateUnreadable"]


# As Qwen3, Llama 3.2, Granite 4 and Mistral are written: the next tag trims.
TRIMMED_BY_BOTH = (
    "{% for m in messages %}\n{{- m.content -}}{%- endfor -%}",
    "{%- for m in messages -%}\n  {% if m.content %}{{- m.content }}{%- endif -%}{%- endfor -%}",
    "{# comment #}\n{{- messages[0].content -}}",
    (
        "{%- for m in messages %}\n    {%- if m.role == 'user' %}\n        {{- 'u' + m.content }}\n"
        "    {%- elif m.content %}\n        {{- m.content }}\n    {%- endif %}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n    {{- 'a' }}\n{%- endif %}\n"
    ),
)


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("{% for m in messages %}\n{{ m -}}{%- endfor -%}", 1),
        ("{%- for m in messages -%}a\n  {% if m %}{%- endif -%}{%- endfor -%}", 2),
        ("{# comment #}\n{{ messages -}}", 1),
        ("{{- messages -}}\n\n{% set x = 1 %}\ny", 3),
        ("{%- for m in messages %}\n    {{- m }}\n{% endfor %}\n{{ 1 }}", 3),
    ],
)
def test_white_space_that_only_hugging_face_trims_is_a_warning(template: str, line: int) -> None:
    (finding,) = lint(template.encode())
    assert (finding.code, finding.line, finding.serious) == ("TemplateWhitespace", line, False)


@pytest.mark.parametrize("template", TRIMMED_BY_BOTH)
def test_white_space_that_both_trim_is_nothing_to_say(template: str) -> None:
    assert findings(template) == []


# The runtime renders no conversation with these; what stands behind a condition may never be reached.
NEVER = (
    *("{% for m in messages %}", "{{ messages | nosuch }}", "{%- with x = 1 -%}{{ messages }}{%- endwith -%}"),
    *(
        "{%- for m in messages -%}{{ m.content | replace('a', 'b') }}{%- endfor -%}",
        "{{ messages[0].content.upper() }}",
    ),
    *("{%- set x = dict(a=1) -%}{{ messages }}", "{%- if messages | groupby('role') -%}a{%- endif -%}"),
    "{%- if x is defined -%}{% raw %}{% endraw %}{%- endif -%}{{ messages }}",
)
SOMETIMES = (
    *("{%- for m in messages if m.role == 'x' -%}{{ m | nosuch }}{%- endfor -%}", "{{ messages or now() }}"),
    *(
        "{%- for m in messages[1:] -%}{{ now() }}{%- endfor -%}",
        "{%- macro f() -%}{{ now() }}{%- endmacro -%}{{ messages }}",
    ),
    "{%- for m in messages -%}{%- if m.role == 'user' -%}{%- continue -%}{%- endif -%}{{ now() }}{%- endfor -%}",
    "{%- set messages = [] -%}{%- for m in messages -%}{{ now() }}{%- endfor -%}",
    "{%- for m in messages -%}{%- if m.role == 'tool' -%}{{ now() }}{%- endif -%}{%- endfor -%}",
)


@pytest.mark.parametrize(("template", "never"), [*((one, True) for one in NEVER), *((one, False) for one in SOMETIMES)])
def test_what_the_runtime_renders_nothing_with(template: str, never: bool) -> None:
    assert (renders_nothing(template) is not None) == never


MACRO = "{%- macro f(x) -%}{{ x }}{%- endmacro -%}"

# Read by both, understood differently: each is rendered with both in tests/templates/test_chat_templates.py.
DIFFERENT: dict[str, tuple[str, str]] = {
    "tools is defined": ("{{- tools is defined -}}", "`if tools`"),
    "documents is not defined": ("{{- documents is not defined -}}", "`if documents`"),
    "what is not given is none": ("{%- if thinking is none -%}a{%- endif -%}", "`is defined`"),
    "a field that is not there is none": ("{%- if m.name is not none -%}a{%- endif -%}", "`is defined`"),
    "and makes True or False": ("{{- m.content and 'a' -}}", "x if y else z"),
    "and, or": ("{{- (true and 'a' or 'b') ~ '' -}}", "x if y else z"),
    "a text in a text": ("{{- 'x' in m.content -}}", "split"),
    "a text in a trimmed text": ("{{- 'x' in m['content'] | trim -}}", "split"),
    "a text that is not in a text": ("{%- set said = m.content.strip() -%}{{- 'x' not in said -}}", "split"),
    "one letter": ("{{- m.content[0] -}}", "[0:1]"),
    "the last letter": ("{{- 'ab'[-1] -}}", "[0:1]"),
    "more after a call": (MACRO + "{{- f('a').strip() -}}", "set x = f(...)"),
    "a part of what a call gives": ("{{- range(3)[1] -}}", "set x = f(...)"),
    "dividing": ("{{- 3 / 2 -}}", "//"),
    "chained": ("{{- 'a' == 'a' == true -}}", "and"),
    "choosing without a test": ("{{- messages | selectattr('nothing') | list | length -}}", "equalto"),
    "asked before it is set": ("{%- for x in [1, 2] -%}{{- y is defined -}}{%- set y = 1 -%}{%- endfor -%}", "set it"),
    "set in one branch": (
        "{%- for x in [1, 2] -%}{%- if x == 1 -%}{%- set y = 1 -%}{%- endif -%}{{- y -}}{%- endfor -%}", "set it",
    ),
    "set outside, too": (
        "{%- set y = 0 -%}{%- for x in [1, 2] -%}{{- y -}}{%- set y = 1 -%}{%- endfor -%}", "set it",
    ),
    "captured": ("{%- for x in [1, 2] -%}{{- y -}}{%- set y -%}a{%- endset -%}{%- endfor -%}", "set it"),
    "in a loop inside": (
        "{%- for x in [1] -%}{%- for z in [1, 2] -%}{{- y -}}{%- set y = z -%}{%- endfor -%}{%- endfor -%}", "set it",
    ),
}  # fmt: skip
# Read by Hugging Face alone, or as another text whatever the conversation.
REFUSED: dict[str, str] = {
    **{f"the escape {text}": f"{{{{- 'a{text}' -}}}}" for text in ("\\x41", "\\u0041", "\\0", "\\v", "\\/", "\\q")},
    "an escaped line end": "{{- 'a\\\nb' -}}",
    "a + before": "{%+ if true %}a{%- endif -%}",
    "a + after": "{%- if true +%}a{%- endif -%}",
    "texts side by side": "{{- 'a' 'b' -}}",
    "split at white space": "{{- 'a b'.split() -}}",
    "split once": "{{- 'a b'.split(' ', 1) -}}",
    "a format": "{{- '%s' % 'a' -}}",
}  # fmt: skip
ALIKE = {
    "a condition": "{%- if m.content and m.role == 'user' -%}a{%- endif -%}",
    "one thing or another": "{{- m.name or 'a' -}}",
    "in a list": "{{- m.role in ['user'] -}}{{- 'role' in m -}}",
    "in parts": "{{- 'x' in m.content.split('y') -}}",
    "if tools": "{%- if tools -%}a{%- endif -%}{%- if not documents -%}b{%- endif -%}",
    "tools that are none": "{%- if tools is none -%}a{%- endif -%}",
    "asked first": "{%- if m.name is defined and m.name is not none -%}a{%- endif -%}",
    "questions joined": "{%- set x = m.role == 'user' and not tools or m.x is defined and true -%}{{- x -}}",
    "more after a call with a name": MACRO + "{%- set x = f(' a') -%}{{- x.strip() -}}",
    "known escapes": "{{- 'a\\n\\t\\r\\b\\f\\\\\\'\\\"' -}}",
    "a slice": "{{- m.content[0:1] -}}{{- m.content[1:] -}}{{- messages[-1].role -}}",
    "set first": "{%- for x in [1, 2] -%}{%- set y = x -%}{{- y -}}{%- endfor -%}",
    "set in each branch": (
        "{%- for x in [1, 2] -%}{%- if x == 1 -%}{%- set y = 1 -%}{%- else -%}{%- set y = 2 -%}{%- endif -%}"
        "{{- y -}}{%- endfor -%}"
    ),
    "used in its branch": "{%- for x in [1, 2] -%}{%- if x -%}{%- set y = 1 -%}{{- y -}}{%- endif -%}{%- endfor -%}",
    "set outside only": "{%- set y = 0 -%}{%- for x in [1, 2] -%}{{- y -}}{%- endfor -%}",
    "kept in a namespace": (
        "{%- set ns = namespace(y=0) -%}{%- for x in [1, 2] -%}{{- ns.y -}}{%- set ns.y = 1 -%}{%- endfor -%}"
    ),
}  # fmt: skip


def in_a_loop(piece: str) -> str:
    return f"\n{{%- for m in messages -%}}{piece}{{%- endfor -%}}"


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_is_understood_differently_is_a_warning_with_what_to_write(name: str) -> None:
    piece, hint = DIFFERENT[name]
    (finding,) = lint(in_a_loop(piece).encode())
    assert (finding.code, finding.line, finding.serious) == ("TemplateDialect", 2, False)
    assert hint in finding.hint


@pytest.mark.parametrize("piece", REFUSED.values(), ids=REFUSED)
def test_what_the_runtime_cannot_read_or_reads_as_another_text_is_refused(piece: str) -> None:
    found = [finding for finding in lint(in_a_loop(piece).encode()) if finding.serious]
    assert [finding.line for finding in found] == [2]
    assert found[0].code in ("TemplateDialect", "TemplateUnknown")
    assert found[0].hint


@pytest.mark.parametrize("piece", ALIKE.values(), ids=ALIKE)
def test_what_both_understand_alike_is_fine(piece: str) -> None:
    assert lint(in_a_loop(piece).encode()) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        "{",
        "{{",
        "{%",
        "{#",
        "{{(",
        "{{'",
        "{%-",
        "{{ a.",
        "{% if a %}",
        "{{ a|b",
        "-%}",
        "'",
        '"',
        " and a",
        "{{ a and",
    ],
)
def test_64_kib_of_anything_is_judged_within_seconds(piece: str) -> None:
    begin = time.process_time()
    lint((piece * 65536)[:65536].encode())
    assert time.process_time() - begin < 5


PIECES = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", " if ", " for ", " in ", "messages", "end", "'", "(", "|", "\n", "-", "[", "é"]
)


@given(st.lists(PIECES, max_size=30).map("".join).map(str.encode) | st.binary(max_size=100))
def test_whatever_comes_the_lint_answers(data: bytes) -> None:
    for finding in lint(data):
        assert finding.message.isprintable()
        assert len(finding.message) < 200


@pytest.mark.parametrize(
    "text",
    [
        "{% for m in messages %}{{ m.contnet }}{{ m | tojson }}{% endfor %}",
        "{% for m in messages %}{{ m.contnet }}{{ m }}{% endfor %}",
        "{% for m in messages %}{{ m.contnet }}{% for k, v in m.items() %}{{ v }}{% endfor %}{% endfor %}",
        "{% for m in messages %}{{ m['role'] }}{{ m.get('content') }}{% endfor %}",
        "{% for m in messages %}{{ '<x>' ~ m ~ '</x>' }}{{ m.context }}{% endfor %}",
        "{% for m in messages %}{{ m | trim }}{{ m.context }}{% endfor %}",
        "{% for m in messages %}{% for k in m %}{{ m[k] }}{% endfor %}{{ m.context }}{% endfor %}",
        "{% macro r(q) %}{{ q }}{% endmacro %}{% for m in messages %}{{ r(m) }}{{ m.context }}{% endfor %}",
        "{% for m in messages %}{{ m.role }}{{ tools[0].context }}{% endfor %}",
        "{% set k = 'con' ~ 'tent' %}{% for m in messages %}{{ m[k] }}{{ m.context }}{% endfor %}",
        "{% macro say(m) %}{{ m.content }}{% endmacro %}{% for m in messages %}{{ m.role }}{{ say(m) }}{% endfor %}",
    ],
)
def test_a_message_that_is_written_whole_has_its_content(text: str) -> None:
    assert "TemplateIgnoresMessages" not in {one.code for one in lint(text.encode())}
