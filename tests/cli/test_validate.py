"""What `validate` says once it has looked at the model folders: at the line of the field, and of the wrong template."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.machine import TestMachine
from tests.operations.test_air_gap import write_lora
from tests.tiny_models import write_qwen2, write_tokenizer


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare()
    return one


def found(machine: TestMachine, kind: str = "problems") -> list[tuple[str, str, int]]:
    said: list[dict[str, Any]] = machine.run("validate", "-o", "json").json()[kind]
    return [(problem["code"], problem["field"], problem["line"]) for problem in said]


def edit(machine: TestMachine, name: str, **changes: object) -> None:
    path = machine.folder / "fleet" / "model" / name
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_bad_folder_is_said_at_the_line_that_names_it(machine: TestMachine) -> None:
    (machine.folder / "fleet" / "model" / "tokenizer.json").unlink()
    assert found(machine) == [("TokenizerMissing", "spec.source", 6)]


def test_a_precision_that_does_not_convert_is_said_at_its_line(machine: TestMachine) -> None:
    machine.declare(precisions="\n    int8,\n    int4,\n  ")
    edit(machine, "config.json", architectures=["OlmoForCausalLM"], model_type="olmo")
    assert found(machine) == [
        ("ConversionUnsupported", "spec.precisions[0]", 8),
        ("ConversionUnsupported", "spec.precisions[1]", 9),
    ]


def test_a_length_beyond_the_context_is_said_at_its_line(machine: TestMachine) -> None:
    machine.declare(more="  generation:\n    topK: 1\n    maxLength: 9999999\n")
    assert found(machine) == [("MaxLengthTooLarge", "spec.generation.maxLength", 11)]


@pytest.mark.parametrize(
    ("template", "strange"),
    [("chatml", False), ("source", False), ("llama3", True), ("gemma", True), ("mistral", True)],
)
def test_a_template_of_another_family_is_worth_a_warning(machine: TestMachine, template: str, strange: bool) -> None:
    machine.declare(template=template)
    expected = [("TemplateForeign", "spec.promptTemplate", 8)] if strange else []
    assert [w for w in found(machine, "warnings") if w[0] == "TemplateForeign"] == expected


def test_the_models_own_template_is_read_as_the_runtime_will(machine: TestMachine) -> None:
    """Made for Hugging Face, as most are: nobody here can change it, so whatever it is, it is a warning."""
    own = machine.folder / "fleet" / "model" / "chat_template.jinja"
    own.chmod(0o644)
    own.write_text(
        "{% for m in messages %}\n{% if '</think>' in m.content %}{{ m.content | nosuch }}{% endif %}{% endfor %}"
    )
    machine.declare(template="source")
    done = machine.run("validate")
    assert done.code == 0
    assert (
        "capitals.yaml:8: spec.promptTemplate: the model's own template, line 2: expected a filter that the runtime"
        in done.err
    )
    expected = {"TemplateDialect", "TemplateUnknown"}  # the white space that Hugging Face trims is trimmed
    assert {code for code, _, line in found(machine, "warnings") if line == 8} == expected
    machine.declare(template="chatml")
    assert found(machine, "warnings") == []


def test_a_template_of_its_own_that_renders_nothing_is_refused(machine: TestMachine) -> None:
    own = machine.folder / "fleet" / "model" / "chat_template.jinja"
    own.chmod(0o644)
    own.write_text("{%- for m in messages -%}{{ m.content | nosuch }}{%- endfor -%}")
    machine.declare(template="source")
    done = machine.run("validate")
    assert done.code == 1
    assert "capitals.yaml:8: spec.promptTemplate: the model's own template, line 1: expected a filter" in done.err
    machine.declare(template="chatml")
    assert machine.run("validate").code == 0


def test_what_a_fine_tune_was_trained_with_goes_before_its_base(machine: TestMachine) -> None:
    """Its template is the one that is judged and served, and so is its tokenizer."""
    base = write_qwen2(machine.folder / "fleet" / "base")
    adapter = machine.folder / "fleet" / "adapter"
    write_lora(adapter, base)
    machine.declare(source="../base, adapter: ../adapter", template="source")

    def build_key() -> str:
        assert found(machine, "warnings") == []
        return str(machine.run("plan", "-o", "json").json()["changes"][0]["buildKey"])

    plain = build_key()
    write_tokenizer(adapter, "{%- for m in messages -%}{{ m.content | nosuch }}{%- endfor -%}")
    done = machine.run("validate")
    assert done.code == 1
    assert "the model's own template, line 1: expected a filter that the runtime knows, got nosuch" in done.err
    (adapter / "chat_template.jinja").unlink()
    assert build_key() == plain  # a copy of the base's is none of its own

    tokenizer, settings = adapter / "tokenizer.json", adapter / "tokenizer_config.json"
    same = tokenizer.read_text()
    settings.write_text(json.dumps({"eos_token": "<|im_start|>"}))
    ends_otherwise = build_key()
    tokenizer.write_text(same.replace('"add_prefix_space": false', '"add_prefix_space": true', 1))
    assert len({plain, ends_otherwise, build_key()}) == 3

    tokenizer.write_text(json.dumps(json.loads(same) | {"added_tokens": []}))
    changed = machine.run("plan", "-o", "json").json()["changes"][0]["buildKey"]
    assert changed not in (plain, ends_otherwise)  # one without added tokens is a tokenizer, too

    document = json.loads(same)
    document["added_tokens"].append(document["added_tokens"][-1] | {"id": 320, "content": "<|done|>"})
    tokenizer.write_text(json.dumps(document))
    (problem,) = machine.run("validate", "-o", "json").json()["problems"]
    assert problem["code"] == "AdapterTokensForeign"
    assert "gives '<|done|>' the id 320, and the base knows 320" in problem["message"]
    tokenizer.write_text(json.dumps(document | {"model": {"type": "Unigram"}}))
    assert [code for code, _, _ in found(machine, "problems")] == ["TokenizerUnsupported"]


def test_a_marker_that_is_a_token_is_no_stranger(machine: TestMachine) -> None:
    """Without a template of its own, the tokenizer alone decides."""
    folder = write_qwen2(machine.folder / "fleet" / "bare")
    (folder / "chat_template.jinja").unlink()
    machine.declare(source="../bare")
    assert [w for w in found(machine, "warnings") if w[0] == "TemplateForeign"] == []
    machine.declare(source="../bare", template="phi3")
    assert ("TemplateForeign", "spec.promptTemplate", 8) in found(machine, "warnings")
    (folder / "tokenizer.json").write_text("{")
    assert [w for w in found(machine, "warnings") if w[0] == "TemplateForeign"] == []


@pytest.mark.parametrize(("ends", "warned"), [([256], True), ([256, 258], False)])
def test_a_template_whose_messages_end_otherwise_than_answers_is_worth_a_warning(
    machine: TestMachine, ends: list[int], warned: bool
) -> None:
    folder = write_qwen2(machine.folder / "fleet" / "bare")
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((folder / name).read_text()) | {"eos_token_id": ends}
        (folder / name).write_text(json.dumps(settings))
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    for template in ("source", "chatml"):
        machine.declare(source="../bare", template=template)
        expected = [("TemplateUnending", "spec.promptTemplate", 8)] if warned else []
        assert [w for w in found(machine, "warnings") if w[0] == "TemplateUnending"] == expected


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("chat", {("InvalidValue", "spec.task")}),  # what depends on it is not judged
        (
            "chat-completion",
            {("MaxLengthTooLarge", "spec.generation.maxLength"), ("OptionIgnored", "spec.gates[1].speech")},
        ),
    ],
)
def test_one_mistake_hides_none_that_does_not_depend_on_it(
    machine: TestMachine, task: str, expected: set[tuple[str, str]]
) -> None:
    """Neither a gate of another task nor what only a look at the source shows."""
    more = "  generation: {maxLength: 9999999, topP: 3}\n  gates: [prompts: {cases: []}, speech: {minPass: 1}]\n"
    machine.declare(more=f"  task: {task}\n{more}")
    fields = ("spec.generation.topP", "spec.gates[0].prompts.cases")
    always = {*(("InvalidValue", one) for one in fields), ("MissingField", "spec.gates[1].speech.cases")}
    assert {(code, field) for code, field, _ in found(machine)} == always | expected


def test_only_models_without_a_problem_are_counted_as_valid(machine: TestMachine) -> None:
    policy = machine.manifests / "policy.yaml"
    head = "apiVersion: reconciler.foundry/v1alpha1\nkind: Policy\nmetadata: {name: house}\nspec: "
    policy.write_text(f"{head}{{precisions: [fp16]}}\n")
    assert "1 problem; no model is valid" in machine.run("validate").out
    machine.declare("second", precisions="fp16")
    assert "1 problem; 1 other model is valid" in machine.run("validate").out
    policy.write_text(f"{head}{{precisions: [fp16], mode: warn}}\n")
    assert "2 models: valid" in machine.run("validate").out
    policy.unlink()
    (machine.folder / "fleet" / "model" / "tokenizer.json").unlink()
    assert "2 problems; no model is valid" in machine.run("validate").out
