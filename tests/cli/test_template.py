"""`reconciler template`: what comes out can be pasted into a manifest, and means the same."""

import json
from pathlib import Path

import pytest
import yaml

from reconciler.sources.manifests import load
from reconciler.templates.presets import preset
from tests.machine import TestMachine

OWN = "{%- for m in messages -%}{{- m.role + ':' + m.content + eos_token -}}{%- endfor -%}"
MANIFEST = """\
apiVersion: reconciler.foundry/v1alpha1
kind: PromptTemplate
metadata: {{name: short}}
spec:
  {form}
"""


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    return machine


def test_roles_can_be_pasted_into_a_manifest(machine: TestMachine) -> None:
    """Whatever YAML makes of quotes, tabs, colons and braces elsewhere."""
    file = machine.folder / "own.jinja"
    odd = "\ttab 'x' \"y\" \\ é 😀 {{ }} # :"
    literal = odd.replace("\\", "\\\\").replace("'", "\\'").replace("\t", "\\t")
    file.write_text(f"{{%- for m in messages -%}}{{{{- '{literal}' + m.content + '\\n' -}}}}{{%- endfor -%}}")
    done = machine.run("template", str(file), "--to", "roles")
    assert done.code == 0, done.err
    assert "note: the role form refuses messages of other roles" in done.err
    roles = yaml.safe_load(done.out)["roles"]
    assert set(roles.values()) == {odd + "{Content}\n"}
    machine.declare(template="{ref: short}")
    indented = done.out.strip().replace("\n", "\n  ")
    (machine.manifests / "short.yaml").write_text(MANIFEST.format(form=indented))
    parsed = load(str(machine.manifests))
    assert parsed.problems == ()
    (model,) = parsed.models
    assert model.template.roles is not None
    assert model.template.roles.user == odd + "{Content}\n"


def test_jinja_can_be_saved_as_a_file(machine: TestMachine) -> None:
    done = machine.run("template", "phi3", "--to", "jinja")
    assert done.code == 0, done.err
    (machine.folder / "phi3.jinja").write_text(done.out)
    back = machine.run("template", str(machine.folder / "phi3.jinja"), "--to", "roles", "-o", "json")
    roles = preset("phi3").roles
    assert roles is not None
    assert back.json()["roles"]["prompt"] == roles.prompt


def test_a_declared_model_and_what_its_tokenizer_says(machine: TestMachine) -> None:
    """Of its own template, `eos_token` is known; of a file it has to be told."""
    own = machine.folder / "fleet" / "model" / "chat_template.jinja"
    own.chmod(0o644)
    own.write_text(OWN)
    machine.declare(template="source")
    done = machine.run("template", "capitals", "--to", "roles", "-o", "json")
    assert done.code == 0, done.err
    assert done.json()["roles"]["user"] == "user:{Content}<|im_end|>"
    assert machine.run("template", "capitals", "--to", "jinja").out == OWN + "\n"
    (machine.folder / "own.jinja").write_text(OWN)
    file = str(machine.folder / "own.jinja")
    refused = machine.run("template", file, "--to", "roles")
    assert (refused.code, refused.out) == (1, "")
    assert f"{file}:1: it has no role form that means exactly the same: it asks for eos_token" in refused.err
    assert "--eos-token" in refused.err
    told = machine.run("template", file, "--to", "roles", "--eos-token", "<end>", "-o", "json")
    assert told.json()["roles"]["user"] == "user:{Content}<end>"


def test_a_shared_template_by_its_own_name(machine: TestMachine) -> None:
    machine.declare(template="{ref: short}")
    form = '{roles: {user: "U{Content}", prompt: "U{Content}A"}}'
    (machine.manifests / "short.yaml").write_text(MANIFEST.replace("\n  {form}", " {form}").format(form=form))
    assert "'U' + message['content']" in machine.run("template", "short", "--to", "jinja").out
    shown = machine.run("template", "short", "--to", "roles", "-o", "json").json()
    assert shown["roles"] == {"user": "U{Content}", "prompt": "U{Content}A"}


def test_a_shared_template_that_no_model_refers_to(machine: TestMachine) -> None:
    machine.declare()
    form = '{roles: {user: "U{Content}", prompt: "U{Content}A"}}'
    (machine.manifests / "short.yaml").write_text(MANIFEST.replace("\n  {form}", " {form}").format(form=form))
    shown = machine.run("template", "short", "--to", "roles", "-o", "json").json()
    assert shown["roles"] == {"user": "U{Content}", "prompt": "U{Content}A"}
    assert "'U' + message['content']" in machine.run("template", "short", "--to", "jinja").out
    assert "declared: capitals, short" in machine.run("template", "shrt", "--to", "jinja").err


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("llama3", 1, "llama3:1: it has no role form that means exactly the same: no role pattern can do what"),
        ("source", 64, "name the model"),
        ("nothing", 1, "declared: capitals"),
        ("broken.jinja", 1, "broken.jinja:2: expected Jinja"),
        ("latin.jinja", 1, "latin.jinja:1: expected UTF-8"),
        ("large.jinja", 1, "at most 64 KiB"),
        ("crlf.jinja", 1, "expected LF line ends"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(machine: TestMachine, what: str, code: int, said: str) -> None:
    machine.declare()
    fleet = machine.manifests.parent  # where the command line is run
    (fleet / "broken.jinja").write_text("{{ messages }}\n{% if %}")
    (fleet / "latin.jinja").write_bytes("{{ messages }} é".encode("latin-1"))
    (fleet / "large.jinja").write_text("{{ messages }}" + " " * 70000)
    (fleet / "crlf.jinja").write_bytes(b"{{ messages }}\r\n")
    done = machine.run("template", what, "--to", "roles")
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_text_of_a_template_cannot_act_on_a_terminal(machine: TestMachine) -> None:
    (machine.folder / "esc.jinja").write_text("{%- for m in messages -%}\x1b[2J{{- m.content -}}{%- endfor -%}\x1b]0;x")
    done = machine.run("template", str(machine.folder / "esc.jinja"), "--to", "roles")
    assert done.code == 1
    assert "\x1b" not in done.err
    assert json.dumps("\x1b")[1:-1] in done.err or "\\x1b" in done.err
