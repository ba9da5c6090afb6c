"""The example of a chat template: the same text as jinja2 gives, and an end whatever the template says."""

# ruff: noqa: E501  a template is one line, because a line end would be part of it

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from reconciler.host.child import Child
from reconciler.host.environment import private_environment
from reconciler.templates.presets import PRESETS, preset
from reconciler.templates.renderer import CONVERSATION, MOST_DEATHS, SYSTEM, TOTAL_SECONDS, Renderer
from reconciler.templates.rendering import NotRendered

SHARE = Path(__file__).parents[2]
WORKER = "reconciler.templates.render_worker"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

OURS = {
    "the example's brief": (SHARE / "manifests/templates/brief.jinja").read_text().removesuffix("\n"),
    "the example model's own": (SHARE / "examples/capitals/model/chat_template.jinja").read_text(),
}
WORDS = {
    "loop": "{% for m in messages %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.previtem is defined }}{% endfor %}",
    "set does not leak": "{% set a = 1 %}{% for m in messages %}{% set a = 2 %}{{ a }}{% endfor %}{{ a }}",
    "set in if": "{% if true %}{% set a = 2 %}{% endif %}{{ a }}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "macro": "{% macro say(m, end='!') %}{{ m.role }}{{ end }}{% endmacro %}{{ say(messages[0]) }}{{ say(messages[1], end='?') }}",
    "slices": "{{ messages[1:][0].content }}{{ messages[-1]['role'] }}{{ 'abc'[1:] }}",
    "filter in loop": "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content }}{% else %}none{% endfor %}",
    "filters": "{{ '  a ' | trim }}{{ messages | length }}{{ messages | map(attribute='role') | join(', ') }}",
    "selectattr": "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
    "tests": "{{ nothing is defined }}{{ messages is iterable }}{{ messages[0].content is string }}{{ none is none }}",
    "joined": "{{ 'a' ~ 1 ~ none ~ true }}",
    "methods": "{{ 'a-b'.split('-')[1] }}{{ ' x '.strip() }}{{ 'abc'.startswith('a') }}{{ messages[0].get('role') }}",
    "items": "{% for key, value in messages[0].items() %}{{ key }}={{ value }};{% endfor %}",
    "numbers": "{{ 7 // 2 }}{{ 7 % 2 }}{{ 2 * 3 }}{{ loop_count | default(4) }}{{ -1 }}",
    "logic": "{{ 1 if false }}{{ 'a' if tools else 'b' }}{{ not tools }}{{ '' or 'x' }}{{ 'role' in messages[1] }}{{ 'a' in ['a'] }}",
    "break": "{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}{{ loop.index }}{% if loop.index > 2 %}{% break %}{% endif %}{% endfor %}",
    "blocks": "{% set a %}x{{ 1 }}{% endset %}{{ a }}{% filter lower %}ABC{% endfilter %}",
    "white space": "a\n  {%- if true %}\n b \n{% endif -%}\n c",
    "compare": "{{ 1 < 2 }}{{ 2 <= 2 }}{{ 'a' != 'b' }}{{ 3 not in [1, 2] }}",
    "cycle": "{% for m in messages %}{{ loop.cycle('a', 'b') }}{% endfor %}",
}


def jinja(template: str) -> str:
    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = pytest.fail
    messages = [dict(one) for one in (SYSTEM, *CONVERSATION)]
    return environment.from_string(template).render(messages=messages, add_generation_prompt=True, **TOKENS)


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer() as one:
        yield one


@pytest.mark.parametrize("name", [*OURS, *WORDS])
def test_the_example_is_what_jinja_renders(name: str, renderer: Renderer) -> None:
    template = (OURS | WORDS)[name]
    assert renderer.render_example(template, TOKENS) == jinja(template)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "source"])
def test_presets_are_what_jinja_renders(name: str, renderer: Renderer) -> None:
    template = preset(name).jinja
    assert template is not None
    text = renderer.render_example(template, TOKENS)
    assert text == jinja(template)
    assert "And of Italy?" in text


@pytest.fixture(scope="module")
def renderers() -> Iterator[list[Renderer]]:
    made: list[Renderer] = []
    yield made
    for one in made:
        one.close()


@pytest.fixture
def living(renderers: list[Renderer]) -> Renderer:
    """One that no template has harmed, and with most of its time left. Each is a process, so they are shared."""
    if not renderers or renderers[-1]._deaths or renderers[-1]._seconds < TOTAL_SECONDS / 2:
        renderers.append(Renderer())
    return renderers[-1]


DOUBLING = "{% set a = 'x' %}" + "{% set a = a + a %}" * 60 + "{{ a }}"
HOSTILE = {
    "doubled texts": DOUBLING,
    "doubled with ~": DOUBLING.replace("a + a", "a ~ a"),
    "doubled lists": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a }}",
    "doubled sums of lists": "{% set a = [1] %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
    "a text many times": "{{ 'x' * 1000000000 }}",
    "a list many times": "{{ [1] * 1000000000 }}",
    "a format": "{{ '%1000000000d' % 1 }}",
    "a power": "{{ 10 ** 10000000 }}",
    "a wide indent": "{{ 'a\nb' | indent(1000000000) }}",
    "wide json": "{{ [1] | tojson(indent=1000000000) }}",
    "a wide text": "{{ 'x'.center(1000000000) }}",
    "an enormous range": "{% for i in range(1000000000) %}{% endfor %}",
    "loops in loops": "{% for a in range(999) %}{% for b in range(999) %}{{ a }}{% endfor %}{% endfor %}",
    "large factors": "{% set ns = namespace(n=9999) %}{% for a in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a list in itself": "{% set a = [] %}{% set b = a.append(a) %}{{ a }}{{ a == a }}",
    "appending for ever": "{% set a = [0] %}{% for x in a %}{% set b = a.append(x) %}{% endfor %}" * 3
    + "{% for i in range(900) %}{% for j in range(900) %}{% set c = a.append('xxxxxxxxxxxx') %}{% endfor %}{% endfor %}",
    "the road out of the sandbox": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "another": "{{ messages.__init__.__globals__['os'].system('touch /tmp/owned') }}",
    "by filter": "{{ messages | attr('__class__') }}",
    "by format": "{{ '{0.__class__}'.format(messages) }}",
    "a file": "{% include '/etc/passwd' %}",
    "a chain of brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "a chain of sums": "{{ 1" + " + 1" * 30000 + " }}",
    "a number of digits": "{{ " + "9" * 60000 + " }}",
    "no Jinja": "{% if %}",
    "too long": " " * 70000,
    "a power of a power": "{{ 9 ** (9 ** 9) }}",
    "globals": "{{ cycler.__init__.__globals__ }}",
    "nested conditions": "{% if true %}" * 300 + "x" + "{% endif %}" * 300,
    "65 KiB of conditions": "{% if 1 %}" * 3200 + "{% endif %}" * 3200,
    "a time": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "an error": "{{ messages[0].role.nothing.more }}",
    "dividing": "{{ 1 // 0 }}",
    "a self that refuses": "{{ raise_exception('@everyone') }}",
}


# Their child works until its processor time is over.
BUSY = {"doubled lists", "a power", "a power of a power", "large factors", "a time"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in BUSY)) for name in HOSTILE])
def test_a_hostile_template_ends_at_once_with_a_reason(name: str, living: Renderer) -> None:
    began = time.process_time()
    with pytest.raises(NotRendered) as told:
        living.render_example(HOSTILE[name], TOKENS)
    assert time.process_time() - began < 2
    said = str(told.value)
    assert said
    assert "\n" not in said
    assert len(said) < 400


def test_a_template_that_refuses_system_messages_is_shown_without(renderer: Renderer) -> None:
    template = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}{% endfor %}"
    assert renderer.render_example(template, {}).startswith("What is")


@pytest.mark.slow
def test_any_number_of_hostile_templates_ends_and_after_a_few_of_them_the_next_is_rendered() -> None:
    with Renderer() as renderer:
        for _ in range(MOST_DEATHS):
            assert renderer.render_example("x", TOKENS) == "x"
            with pytest.raises(NotRendered, match="too long"):
                renderer.render_example(HOSTILE["a power"], TOKENS)
        began = time.monotonic()
        for _ in range(1000):
            with pytest.raises(NotRendered, match="others before it"):
                renderer.render_example("x", TOKENS)
        assert time.monotonic() - began < 1


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at limits in /proc")
def test_the_child_can_open_nothing(tmp_path: Path) -> None:
    environment = private_environment(str(tmp_path))
    with Child(module=WORKER, environment=environment, log=os.devnull, directory=str(tmp_path)) as child:
        child.call("start", {"tokenizers": False}, timeout=60)
        limits = Path(f"/proc/{child.pid}/limits").read_text().splitlines()
        held = {line[:26].strip(): line[26:47].strip() for line in limits}
        assert (held["Max open files"], held["Max processes"], held["Max file size"]) == ("0", "0", "0")
        assert int(held["Max address space"]) <= 1 << 30


def test_templates_that_differ_without_a_system_message_only_are_shown_without_one(renderer: Renderer) -> None:
    begins = "{% if messages[0].role != 'system' %}START {% endif %}"
    rest = "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}"
    before, after = renderer.examples((rest, begins + rest), {}, None)
    assert (before.text[:6], after.text[:6]) == ("user: ", "START ")
    before, after = renderer.examples((rest, rest + "END"), {}, None)
    assert (before.text[:8], after.text[-3:]) == ("system: ", "END")
    failed, whole = renderer.examples(("{% for %}", rest), {}, None)
    assert (bool(failed.reason), whole.text[:8]) == (True, "system: ")


def test_a_conversation_that_can_be_shown_is_though_it_cannot_be_without_its_system_message(renderer: Renderer) -> None:
    wants = "{% if messages[0].role != 'system' %}{{ raise_exception('no') }}{% endif %}{{ messages[0].content }}"
    before, after = renderer.examples((wants, wants + "{% if false %}x{% endif %}"), {}, None)
    assert (before.text, after.text) == ("You are brief.", "You are brief.")
