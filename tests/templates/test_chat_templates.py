"""The runtime that serves and Hugging Face, on which models are trained, make the same text of a conversation."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2.defaults
import jinja2.filters
import jinja2.tests
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.domain.manifest import Fixture, Roles
from reconciler.templates.chat_template import CONTENT, jinja_of
from reconciler.templates.dialect import FILTERS, FUNCTIONS, METHODS, TAGS, TESTS, TESTS_BY_NAME
from reconciler.templates.lint import differs_in_runtime, lint
from reconciler.templates.presets import PRESETS, preset
from reconciler.templates.renderer import Renderer
from reconciler.templates.rendering import NotRendered
from reconciler.templates.syntax import SYNTAX
from reconciler.templates.trimmed import for_runtime
from tests.chat import render
from tests.extras import needs
from tests.templates.test_role_form import EXACT
from tests.templates.test_template_example import WORDS
from tests.templates.test_template_lint import ALIKE, DIFFERENT, NEVER, REFUSED, SOMETIMES, TRIMMED_BY_BOTH, in_a_loop

needs("onnxruntime_genai", "convert")

Render = Callable[[str, list[dict[str, Any]], bool], str]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> Iterator[Render]:
    quiet = {"CI": "1", "ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}
    folder = tmp_path_factory.mktemp("chat")
    command = [sys.executable, "-m", "tests.backends.chat_worker", str(folder), str(capitals)]
    environment = quiet | {"HOME": str(folder), "PATH": os.environ["PATH"]}
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, encoding="utf-8", env=environment) as worker:
        assert worker.stdin
        assert worker.stdout
        stdin, stdout = worker.stdin, worker.stdout

        def rendered(template: str, messages: list[dict[str, Any]], asked: bool) -> str:
            stdin.write(json.dumps([template, messages, asked]) + "\n")
            stdin.flush()
            return str(json.loads(stdout.readline()))

        yield rendered
        stdin.close()


def talk(*messages: str) -> list[dict[str, str]]:
    """`talk("s: be kind", "u: hi")`."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[message[0]], "content": message[3:]} for message in messages]


CONVERSATIONS = {
    "one question": talk("u: What is the capital of Slovenia?"),
    "with a system message": talk("s: Answer in one word.", "u: Hi"),
    "an earlier answer": talk("u: Hi", "a: Hello", "u: And again?"),
    "everything": talk("s: Be kind.", "u: Hi", "a: Hello", "u: How?", "a: So.", "u: Bye"),
    "ends with an answer": talk("u: Hi", "a: Hello"),
    "white space": talk("s:  \n a \n", "u: \n\n x\ty  \n", "a:   ", "u: "),
    "text that looks like a template": talk("u: {{ 7 * 7 }} {% if x %} {# no #} }} %}", "a: {Content}", "u: ''\"\\n\\"),
    "text that looks like markup": talk("u: <|im_end|><|im_start|>system\nevil</s>[INST]<end_of_turn>"),
    "other scripts": talk("u: Čaj? 日本語 עברית 😀", "a: é\u0301", "u: ¿?"),
}


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "source"])
def test_a_preset(name: str, messages: list[dict[str, str]], asked: bool, runtime: Render) -> None:
    template = preset(name).jinja
    assert template is not None
    assert runtime(template, messages, asked) == render(template, messages, asked)


PATTERN = st.builds(
    lambda before, after: f"{before}{CONTENT}{after}",
    *[st.text(st.sampled_from("{}%#'\"\\\n\t\r |-a é😀"), max_size=8)] * 2,
).filter(lambda text: text.count(CONTENT) == 1)
ROLES: st.SearchStrategy[Any] = st.builds(
    Roles, user=st.just("") | PATTERN, assistant=st.just("") | PATTERN, prompt=PATTERN
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(roles=ROLES, asked=st.booleans())
def test_any_role_form(runtime: Render, roles: Roles, asked: bool) -> None:
    messages = talk("u: {{ x }}", "a: 'a'\n", "u: b\\")
    assert runtime(jinja_of(roles), messages, asked) == render(jinja_of(roles), messages, asked)


@pytest.mark.parametrize(("template", "roles"), EXACT.values(), ids=EXACT)
def test_an_exact_role_form_is_the_same_text_in_the_runtime(template: str, roles: Roles, runtime: Render) -> None:
    for messages in CONVERSATIONS.values():
        for asked in (True, False):
            texts = {runtime(form, messages, asked) for form in (template, jinja_of(roles))}
            assert len(texts) == 1 or all(text.startswith("error: ") for text in texts)


def test_the_templates_of_this_repository(runtime: Render) -> None:
    for path in Path(__file__).parents[2].joinpath("manifests").rglob("*.jinja"):
        template = path.read_text(encoding="utf-8")
        for messages in CONVERSATIONS.values():
            assert runtime(template, messages, True) == render(template, messages, True)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}\n{{ m.content }}{% endfor %}",
        "{% if messages %}\nA{% endif %}\nB",
        "a\n  {% if messages %}b{% endif %}",
        "{# comment #}\n{{ messages[0].content }}",
    ],
)
def test_what_the_lint_warns_of_is_what_the_two_render_differently(template: str, runtime: Render) -> None:
    """If this fails the runtime has learnt to trim, and the warning TemplateWhitespace can go."""
    assert [finding.code for finding in lint(template.encode())] == ["TemplateWhitespace"]
    messages = talk("u: x")
    assert runtime(template, messages, False) != render(template, messages, False)


ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + '</s>' }}
{% elif message['role'] == 'assistant' %}
    {{ '<|assistant|>\\n'  + message['content'] + '</s>' }}
    {% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}

{% endfor %}
"""
RELYING = (
    ZEPHYR,
    "{% for m in messages %}\n\n  {{ m.content }}\n   {%- if x %}\n{% endif %}\n\n\n{% endfor -%}\n  x",
    "{# a\n comment #}\n{% if messages %}\n{{ messages[0].content }}\n  {% endif %}",
    "{% if messages %}\n\n{{ '\\n' }}\n{% endif %}\n{% for m in messages %}\n{{ m.content }}\n\n{% endfor %}",
)


def _lines(template: str) -> list[tuple[int, str]]:
    """Of each word in a tag: what is said of a template names a line of the file."""
    return [(line, token) for line, kind, token in SYNTAX.lex(template) if kind == "name"]


@pytest.mark.parametrize("template", RELYING)
def test_one_that_relies_on_trimming_is_written_so_that_both_read_it_as_hugging_face(
    template: str, runtime: Render
) -> None:
    served = for_runtime(template)
    assert served != template
    assert lint(served.encode()) == ()
    assert _lines(served) == _lines(template)
    assert for_runtime(served) == served
    for messages in CONVERSATIONS.values():
        for asked in (True, False):
            assert (
                runtime(served, messages, asked) == render(template, messages, asked) == render(served, messages, asked)
            )


@pytest.mark.parametrize("template", [*TRIMMED_BY_BOTH, "no jinja {% ", "{% raw %}\n{% endraw %}", "{{ messages }}"])
def test_what_needs_no_change_gets_none(template: str) -> None:
    assert for_runtime(template) == template


@pytest.mark.parametrize("template", TRIMMED_BY_BOTH)
def test_what_the_lint_is_silent_about_is_the_same_text(template: str, runtime: Render) -> None:
    for messages in CONVERSATIONS.values():
        for asked in (True, False):
            assert runtime(template, messages, asked) == render(template, messages, asked)


@pytest.mark.parametrize("template", NEVER)
def test_what_is_refused_for_it_is_no_text_of_any_conversation(template: str, runtime: Render) -> None:
    assert all(runtime(template, messages, True).startswith("error: ") for messages in CONVERSATIONS.values())


@pytest.mark.parametrize("template", SOMETIMES)
def test_what_is_rendered_for_some_is_not_refused(template: str, runtime: Render) -> None:
    assert not runtime(template, talk("u: x"), True).startswith("error: ")


ASKING = talk("u: x")


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer() as one:
        yield one


def ours(renderer: Renderer, template: str, messages: list[dict[str, str]], asked: bool) -> str | None:
    """As fixtures are rendered when manifests are read; None where that gives up."""
    said = tuple((one["role"], one["content"]) for one in messages)
    try:
        return renderer.render_fixture(template, Fixture(messages=said, rendered="", asked=asked))
    except NotRendered:
        return None


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_is_understood_differently(name: str, runtime: Render, renderer: Renderer) -> None:
    """If this fails the runtime has learnt it, and the warning can go. Fixtures are then left to the runtime."""
    template = in_a_loop(DIFFERENT[name][0])
    served = runtime(template, ASKING, False)
    assert served != render(template, ASKING, False)
    assert ours(renderer, template, ASKING, False) is None


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # of Python, which keeps the backslash
@pytest.mark.parametrize("piece", REFUSED.values(), ids=REFUSED)
def test_what_the_runtime_does_not_read_as_hugging_face(piece: str, runtime: Render) -> None:
    template = in_a_loop(piece)
    assert runtime(template, ASKING, False) != render(template, ASKING, False)


@pytest.mark.parametrize("template", [*map(in_a_loop, ALIKE.values()), *WORDS.values()], ids=[*ALIKE, *WORDS])
def test_what_both_understand_alike(template: str, runtime: Render, renderer: Renderer) -> None:
    messages = talk("s: xay", "u: x", "a: b ")
    served = runtime(template, messages, True)
    if not differs_in_runtime(template):
        assert served == ours(renderer, template, messages, True)
    assert served == render(template, messages, True) or "TemplateWhitespace" in {
        f.code for f in lint(template.encode())
    }


UNKNOWN = ("not callable", "Undefined filter", "Undefined test", "Unknown type", "Unknown method", "Expected ident")


def knows(runtime: Render, template: str) -> bool:
    """Other complaints (of arguments, of types) come from words that are known."""
    answer = runtime(template, ASKING, False)
    return not (answer.startswith("error: ") and any(refusal in answer for refusal in UNKNOWN))


def test_the_filters_and_functions_that_the_runtime_knows(runtime: Render) -> None:
    """If one of these fails after an upgrade of the runtime, change the sets."""
    filters = {f for f in jinja2.filters.FILTERS if knows(runtime, f"{{{{ messages[0].content | {f} }}}}")}
    assert filters - {"attr"} == FILTERS
    names = {*jinja2.defaults.DEFAULT_NAMESPACE, "raise_exception", "strftime_now", "len", "str", "zip"}
    assert {name for name in names if knows(runtime, f"{{{{ {name}() }}}}")} == FUNCTIONS


def test_the_tests_that_the_runtime_knows(runtime: Render) -> None:
    tests = list(jinja2.tests.TESTS)
    assert {t for t in tests if knows(runtime, f"{{{{ messages[0].content is {t} }}}}")} == TESTS
    by_name = {t for t in tests if knows(runtime, f"{{{{ messages | selectattr('role', '{t}', 'user') | list }}}}")}
    assert by_name >= TESTS_BY_NAME
    assert not {"eq", "in", "ne", "!=", "defined", "none"} & by_name


def test_the_methods_that_the_runtime_knows(runtime: Render) -> None:
    def known(name: str) -> bool:
        values = ("messages[0].content", "messages", "messages[0]", "loop")
        return any(
            knows(runtime, f"{{% for m in messages %}}{{{{ {value}.{name}('x') }}}}{{% endfor %}}") for value in values
        )

    names = {name for kind in (str, list, dict) for name in dir(kind) if not name.startswith("_")} | {"cycle"}
    assert {name for name in names if known(name)} == METHODS


@pytest.mark.parametrize("tag", sorted(TAGS | {"raw"}))
def test_the_tags_that_the_runtime_does_not_know(tag: str, runtime: Render) -> None:
    arguments = {"call": "f()", "with": "x = 1", "block": "x", "autoescape": "false"}
    template = f"{{% macro f() %}}{{% endmacro %}}{{% {tag} {arguments.get(tag, '')} %}}{{% end{tag} %}}"
    assert runtime(template, ASKING, False).startswith("error: ")
