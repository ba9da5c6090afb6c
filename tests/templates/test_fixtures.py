"""Fixtures of a template: what it must make of a conversation, checked when it is read."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.manifest import Fixture
from reconciler.domain.measured import Measured
from reconciler.gates.judgement import judge, needed, rejection_text
from reconciler.gates.template import TemplateGate
from reconciler.manifests.parsed import Parsed
from reconciler.sources.manifests import load

TEMPLATE = """\
apiVersion: reconciler.foundry/v1alpha1
kind: PromptTemplate
metadata: {name: short}
spec:
"""
MODEL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: capitals}
spec:
  source: {path: ../model}
  precisions: [int4]
  promptTemplate: {ref: short}
"""
ROLES = '  roles: {user: "<u>{Content}</u>", assistant: "{Content}", prompt: "<u>{Content}</u><a>"}\n'
HI = "messages: [{role: user, content: Hi}]"


def parsed(folder: Path, form: str, *fixtures: str, **files: str) -> Parsed:
    """Of one template with these fixtures, and a model that uses it."""
    manifests = folder / "fleet" / "manifests"
    manifests.mkdir(parents=True)
    (folder / "fleet" / "model").mkdir()
    lines = "".join(f"    - {{{fixture}}}\n" for fixture in fixtures)
    (manifests / "short.yaml").write_text(f"{TEMPLATE}{form}  fixtures:\n{lines}")
    (manifests / "model.yaml").write_text(MODEL)
    for name, text in files.items():
        (manifests / name.replace("_", ".")).write_text(text)
    return load(str(manifests))


@pytest.mark.parametrize(
    ("fixture", "said"),
    [
        (f"{HI}, rendered: <u>Hi</u><a>", ""),
        (f"{HI}, rendered: <u>Hi</u>, addGenerationPrompt: false", ""),
        (f"{HI}, file: hi.txt", ""),
        (f"{HI}, rendered: <u>Ho</u><a>", "'<u>Ho</u><a>', got '<u>Hi</u><a>'"),
        (f"{HI}, rendered: <u>Hi</u>", "from character 9, '<u>Hi</u>', got '<u>Hi</u><a>'"),
        (f"{HI}, file: missing.txt", "expected a file, but there is no missing.txt"),
        (f"{HI}", "one of rendered or file"),
        (f"{HI}, rendered: x, file: hi.txt", "one of rendered or file"),
        ("messages: [], rendered: x", "at least one item"),
        ("messages: [{role: system, content: Hi}], rendered: x", "refuses these messages"),
        ("messages: [{role: nurse, content: Hi}], rendered: x", "system, user or assistant"),
    ],
)
def test_a_fixture_of_the_role_form(tmp_path: Path, fixture: str, said: str) -> None:
    found = parsed(tmp_path, ROLES, fixture, hi_txt="<u>Hi</u><a>\n")
    if not said:
        assert found.problems == ()
        assert len(found.models) == 1
        return
    (problem,) = found.problems
    assert said in f"{problem.message} {problem.hint}"
    assert (problem.file.endswith("short.yaml"), problem.line) == (True, 7)
    assert problem.field.startswith("spec.fixtures[0]")
    assert found.models == ()


JINJA = "  jinja: t.jinja\n"


@pytest.mark.parametrize(
    ("template", "fixture", "code"),
    [
        ("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}", "rendered: <s>Hi, bosToken: <s>", ""),
        ("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}", "rendered: <s>Hi", "TemplateFixture"),
        # White space around tags stays, as in the runtime that serves; Hugging Face would drop it.
        ("{% for m in messages %}\n{{ m.content }}{% endfor %}", 'rendered: "\\nHi"', ""),
        ("{% for m in messages %}\n{{ m.content }}{% endfor %}", "rendered: Hi", "TemplateFixture"),
        # MeasurementSet to be understood differently: left to the runtime.
        ("{% for m in messages %}{{ 'i' in m.content }}{% endfor %}", "rendered: 'False'", "TemplateFixtureUnchecked"),
        ("{% for m in messages %}{{ 'i' in m.content }}{% endfor %}", "rendered: 'True'", "TemplateFixtureUnchecked"),
        ("{% for m in messages %}{{ m.content * 2 }}{% endfor %}", "rendered: HiHi", ""),
        ("{% for m in messages %}{{ m.content.append('x') }}{% endfor %}", "rendered: Hi", "TemplateFixtureUnchecked"),
    ],
)  # fmt: skip
def test_a_fixture_of_a_jinja_file(tmp_path: Path, template: str, fixture: str, code: str) -> None:
    found = parsed(tmp_path, JINJA, f"{HI}, {fixture}", t_jinja=template)
    serious = [problem.code for problem in found.problems]
    minor = [warning.code for warning in found.warnings if warning.code.startswith("TemplateFixture")]
    assert [*serious, *minor] == [code] * bool(code)


FIXTURE = Fixture(messages=(("user", "Hi"),), rendered="<u>Hi</u>")
GATES = GateSpec.of(TemplateGate(fixtures=(FIXTURE,)))
LOADED = Measured(release="r", build_key="b")


@pytest.mark.parametrize(
    ("counts", "said"),
    [((9, 9), ""), ((8, 9), "template: fixture 1 has 9 tokens, and the runtime renders 8"), ((8, -1), "")],
)
def test_the_runtime_renders_it_too(counts: tuple[int, int], said: str) -> None:
    measured = replace(LOADED, rendered={FIXTURE.key: counts})
    assert rejection_text(judge(GATES, "int4", None, measured)) == said
    assert "template" not in {gate.name for gate in needed(GATES, None, measured).gates}
    assert "template" in {gate.name for gate in needed(GATES, None, LOADED).gates}
