"""From many files to what they declare: rules across fields and files, all problems at once. The disk is a table."""

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import pytest

from reconciler.domain.manifest import Fixture, Generation, Model, Quantization, Roles, Template
from reconciler.domain.targets.execution_providers import CONVERTED
from reconciler.manifests.parse import parse
from reconciler.manifests.parsed import Parsed, Place
from reconciler.manifests.paths import ParseContext
from reconciler.templates.rendering import NotRendered
from tests.posix import ON_WINDOWS

Form = Literal["NFC", "NFD"]

GROUP = "reconciler.foundry/v1alpha1"
KINDS = "Model, PromptTemplate, PruneConfirmation, Policy or Rollout"
OF_A_DRIVE = "inside the repository" if ON_WINDOWS else "with forward slashes"
FOLDERS = {"/repo/models/phi", "/repo/lora", "/srv/models/big"}
LINKS = {"/repo/models/out": "/etc", "/repo/models/in": "/repo/models/phi", "/repo/models/srv": "/srv/models/big"}
TEMPLATES = {"/repo/manifests/t/ok.jinja": b"{%- for m in messages -%}{{ m.content }}{%- endfor -%}\n"}


def unrendered(template: str, fixture: Fixture) -> str:
    raise NotRendered("there is no renderer here")


def slashed(path: str) -> str:
    """The disk of these tests is a table, whose names have forward slashes on Windows, too."""
    return path.replace(os.sep, "/")


def around(templates: Mapping[str, bytes], *roots: str) -> ParseContext:
    def place(path: str) -> Place:
        real = LINKS.get(slashed(path), slashed(path))
        kind = "folder" if real in FOLDERS | {"/etc"} else "file" if real in templates else "missing"
        return Place(path=real, kind=kind)

    return ParseContext(
        base="/repo/manifests",
        prefix="manifests",
        checkout="/repo",
        roots=roots,
        place=place,
        read=lambda path: templates.get(slashed(path)),
        render=unrendered,
    )


def parsed(files: Mapping[str, str], *roots: str, templates: Mapping[str, bytes] = TEMPLATES) -> Parsed:
    return parse({name: text.encode() for name, text in files.items()}, around(templates, *roots))


def manifest(kind: str, name: str, *spec: str) -> str:
    fields = "".join(f"  {field}\n" for field in spec)
    return f"apiVersion: {GROUP}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{fields}"


def model(name: str = "phi", *spec: str, source: str = "{path: ../models/phi}", precisions: str = "[int4]") -> str:
    return manifest("Model", name, f"source: {source}", f"precisions: {precisions}", *spec)


def said(result: Parsed) -> list[str]:
    return [str(problem) for problem in result.problems]


def test_a_model_with_its_defaults() -> None:
    head = {"": 1, "apiVersion": 1, "kind": 2, "metadata": 3, "metadata.name": 3}
    spec = {"spec": 4, "spec.source": 5, "spec.source.path": 5, "spec.precisions": 6, "spec.precisions[0]": 6}
    assert parsed({"a.yaml": model()}) == Parsed(
        models=(
            Model(
                name="phi",
                file="manifests/a.yaml",
                line=1,
                lines=head | spec,
                source_path="/repo/models/phi",
                precisions=("int4",),
                template=Template(origin="source", jinja=None),
            ),
        )
    )


def test_a_model_with_what_it_says() -> None:
    text = model(
        "phi",
        "quantization: {blockSize: 64}",
        "promptTemplate: {ref: support}",
        "generation: {topK: 1}",
        "suspend: true",
        source="{path: ../models/in, adapter: ../lora}",
        precisions="[int8, int4]",
    )
    template = manifest("PromptTemplate", "support", 'roles: {prompt: "<{Content}>"}')
    (found,) = parsed({"a.yaml": f"{text}---\n{template}"}).models
    assert (found.source_path, found.adapter_path) == ("/repo/models/phi", "/repo/lora")
    assert found.precisions == ("int8", "int4")
    assert found.quantization == Quantization(block_size=64)
    assert found.generation == Generation(top_k=1)
    assert found.suspend
    assert found.template.origin == "PromptTemplate support"
    assert found.template.roles == Roles(prompt="<{Content}>")


@pytest.mark.parametrize(
    ("choice", "origin"),
    [("chatml", "preset chatml"), ("{jinja: t/ok.jinja}", "inline"), ('{roles: {prompt: "{Content}"}}', "inline")],
)
def test_a_template_says_where_it_comes_from(choice: str, origin: str) -> None:
    (found,) = parsed({"a.yaml": model("phi", f"promptTemplate: {choice}")}).models
    assert found.template.origin == origin
    assert found.template.jinja


def test_the_last_line_end_of_a_template_file_is_not_part_of_it() -> None:
    (found,) = parsed({"a.yaml": model("phi", "promptTemplate: {jinja: t/ok.jinja}")}).models
    assert found.template.jinja == "{%- for m in messages -%}{{ m.content }}{%- endfor -%}"


def test_paths_are_seen_from_the_file_that_names_them() -> None:
    result = parsed({"team/deep/a.yaml": model(source="{path: ../../../models/phi}")})
    assert [found.source_path for found in result.models] == ["/repo/models/phi"]


@pytest.mark.parametrize(
    ("path", "roots", "message"),
    [
        ("../models/none", (), "expected a folder, but there is no ../models/none"),
        ("../../etc", (), "expected a path inside the repository, got ../../etc"),
        ("../../../../../etc/passwd", (), "expected a path inside the repository, got ../../../../../etc/passwd"),
        ("/etc", (), "expected a path inside the repository, got /etc"),
        ("/repo/models/phi", (), "expected a path inside the repository, got /repo/models/phi"),
        ("../models/out", (), "expected a folder inside the repository, but ../models/out leads out of it"),
        ("../models/srv", (), "expected a folder inside the repository, but ../models/srv leads out of it"),
        ("t/ok.jinja", (), "expected a folder, but t/ok.jinja is a file"),
        ("..\\models\\phi", (), "expected a path with forward slashes, got ..\\\\models\\\\phi"),
        (
            "C:/models",
            (),
            f"expected a path {'inside the repository' if ON_WINDOWS else 'with forward slashes'}, got C:/models",
        ),
        ("/srv/models/big", ("/srv/models",), None),
        ("../models/srv", ("/srv/models",), None),
        ("../../srv/models/big", ("/srv/models",), None),
        ("/srv/models2", ("/srv/models",), "expected a path inside the repository, got /srv/models2"),
    ],
)
def test_a_source_lies_where_it_may(path: str, roots: tuple[str, ...], message: str | None) -> None:
    result = parsed({"a.yaml": model(source=f"{{path: '{path}'}}")}, *roots)
    assert [p.message.replace("\\", "\\\\") for p in result.problems] == ([message] if message else [])
    assert [(p.line, p.field) for p in result.problems] == ([(5, "spec.source.path")] if message else [])


@pytest.mark.parametrize(("written", "lies"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("kind", ["missing", "unknown"])
def test_a_name_that_looks_the_same_is_told(written: Form, lies: Form, kind: str) -> None:
    """As macOS gives it to a folder. Also where a folder may be that cannot be looked at, as in a commit."""
    path = unicodedata.normalize(lies, "/repo/models/modèle")
    disk = replace(around({}), place=lambda one: Place(path=one, kind="folder" if slashed(one) == path else kind))
    name = unicodedata.normalize(written, "../models/modèle")
    (problem,) = parse({"a.yaml": model(source=f"{{path: '{name}'}}").encode()}, disk).problems
    assert problem.code == "PathMissing"
    assert problem.message.endswith(f"there is none whose name is spelt with the same characters as {name}")
    assert f"(Unicode {lies})" in problem.hint
    assert ("mode\\u0300le" in problem.hint) == (lies == "NFD")


def test_whether_a_path_outside_exists_is_never_asked() -> None:
    asked: list[str] = []

    def place(path: str) -> Place:
        asked.append(path)
        return Place(path=path, kind="missing")

    closed = ParseContext(
        base="/repo/manifests",
        prefix="m",
        checkout="/repo",
        roots=(),
        place=place,
        read=lambda _: None,
        render=unrendered,
    )
    parse({"a.yaml": model("phi", "promptTemplate: {jinja: /etc/b}", source="{path: ../../etc/a}").encode()}, closed)
    assert asked == []


@pytest.mark.parametrize(
    ("spec", "precisions", "field", "message"),
    [
        ("blockSize: 32", "[fp32]", "blockSize", "expected an option that acts on fp32, got blockSize"),
        ("symmetric: true", "[fp16, fp32]", "symmetric", "expected an option that acts on fp16 or fp32, got symmetric"),
        ("algorithm: rtn", "[int8]", "algorithm", "expected an option that acts on int8, got algorithm"),
        ("algorithm: rtn", "[int8, int4]", None, None),
        ("symmetric: false", "[int8]", None, None),
        ("accuracyLevel: 1", "[int8]", None, None),
        ("blockSize: 64", "[fp32, int8]", None, None),
        (
            "algorithm: k_quant, symmetric: true",
            "[int4]",
            "symmetric",
            "expected an option that acts on int4, got symmetric",
        ),
        ("algorithm: k_quant, symmetric: true", "[int4, int8]", None, None),
        ("algorithm: rtn, symmetric: true", "[int4]", None, None),
    ],
)
def test_an_option_that_nothing_uses_is_an_error(
    spec: str, precisions: str, field: str | None, message: str | None
) -> None:
    result = parsed({"a.yaml": model("phi", f"quantization: {{{spec}}}", precisions=precisions)})
    expected = [f"manifests/a.yaml:7: spec.quantization.{field}: {message}"] if field else []
    assert said(result) == expected


@pytest.mark.parametrize(
    ("precisions", "messages"),
    [
        ("[int4, int4, int3]", {1: "expected each precision once, got int4 again", 2: None}),
        ("[int4, int4, int4]", {1: "expected each precision once, got int4 again"}),
        ("[bf16, int3, bf16]", {0: None, 1: None, 2: "expected each precision once, got bf16 again"}),
    ],
)
def test_a_repeated_precision_is_said_beside_a_wrong_one(precisions: str, messages: dict[int, str | None]) -> None:
    problems = parsed({"a.yaml": model(precisions=precisions)}).problems
    by_field = {problem.field: problem.message for problem in problems}
    assert sorted(by_field) == [f"spec.precisions[{index}]" for index in messages]
    assert all(by_field[f"spec.precisions[{index}]"] == text for index, text in messages.items() if text)


def test_paths_references_and_options_are_checked_whatever_else_is_wrong() -> None:
    text = model(
        "phi",
        "promptTemplate: {ref: support, gates: 1}",
        "quantization: {blockSize: 17, symmetric: true}",
        "generation: {topK: hello}",
        source="{path: ../models/none, adapter: ../../etc}",
        precisions="[fp32, fp32]",
    )
    text = text.replace("{name: phi}", "{name: phi, annotations: {reconciler.foundry/prune: no}}")
    problems = parsed({"a.yaml": text}).problems
    assert sorted(problem.field for problem in problems) == [
        "metadata.annotations.reconciler.foundry/prune",
        "spec.generation.topK",
        "spec.precisions[1]",
        "spec.promptTemplate.gates",
        "spec.promptTemplate.ref",
        "spec.quantization.blockSize",
        "spec.quantization.symmetric",
        "spec.source.adapter",
        "spec.source.path",
    ]


def test_the_files_of_a_refused_template_are_checked_too() -> None:
    template = manifest("PromptTemplate", "support", "jinja: t/none.jinja", "gates: 1")
    result = parsed({"a.yaml": template, "b.yaml": model("phi", "topK: 1", "promptTemplate: {jinja: t/b}")})
    assert sorted(problem.field for problem in result.problems) == [
        "spec.gates",
        "spec.jinja",
        "spec.promptTemplate.jinja",
        "spec.topK",
    ]


def test_nothing_more_is_said_of_a_field_that_was_refused() -> None:
    text = model("phi", "promptTemplate: {ref: a, jinja: b}", source="{path: !x ../models/none}")
    assert [problem.code for problem in parsed({"a.yaml": text}).problems] == ["TagRefused", "InvalidValue"]


def test_an_option_is_not_called_useless_while_a_precision_is_misspelt() -> None:
    text = model("phi", "quantization: {symmetric: true}", precisions="[fp32, int3]")
    assert [problem.field for problem in parsed({"a.yaml": text}).problems] == ["spec.precisions[1]"]


def test_bf16_is_refused_on_cpu_with_the_reason() -> None:
    (problem,) = parsed({"a.yaml": model(precisions="[int4, bf16]")}).problems
    said = "expected a precision that runs on cpu (fp32, fp16, int8 or int4), got bf16"
    assert str(problem) == f"manifests/a.yaml:6: spec.precisions[1]: {said}"
    assert "no bf16 kernels" in problem.hint


@pytest.mark.parametrize(
    ("target", "precisions", "expected"),
    [
        ("{executionProvider: CUDAExecutionProvider}", "[int4, bf16]", ("int4", "bf16")),
        ("{device: gpu, executionProvider: DmlExecutionProvider}", "auto", ("int8", "int4")),
        ("{executionProvider: NvTensorRTRTXExecutionProvider}", "auto", ("int4",)),
        ("{device: cpu}", "auto", ("int8", "int4")),
    ],
)
def test_a_target_is_a_provider_and_its_device(target: str, precisions: str, expected: tuple[str, ...]) -> None:
    result = parsed({"a.yaml": model("phi", f"target: {target}", precisions=precisions)})
    assert (result.problems, result.warnings) == ((), ())
    (found,) = result.models
    assert found.precisions == expected
    assert found.target.device == CONVERTED[found.target.execution_provider].device


def test_fp16_on_cpu_is_worth_a_warning() -> None:
    result = parsed({"a.yaml": model(precisions="[fp16]")})
    assert [warning.code for warning in result.warnings] == ["PrecisionSlow"]
    assert [found.name for found in result.models] == ["phi"]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("reconciler.foundry/prune: disabled", None),
        ("reconciler.foundry/prune: enabled", None),
        ("example.com/anything: goes", None),
        ("reconciler.foundry/prune: no", "expected disabled or enabled, got no"),
        ("reconciler.foundry/Prune: disabled", "expected reconciler.foundry/prune, got reconciler.foundry/Prune"),
    ],
)
def test_a_typing_error_never_leaves_a_model_unprotected(annotation: str, message: str | None) -> None:
    text = model().replace("{name: phi}", f"{{name: phi, annotations: {{{annotation}}}}}")
    result = parsed({"a.yaml": text})
    assert [problem.message for problem in result.problems] == ([message] if message else [])


def test_a_name_belongs_to_one_document() -> None:
    result = parsed({"a.yaml": model("phi"), "b.yaml": f"{model('qwen')}---\n{model('phi')}", "c.yaml": model("phi")})
    assert said(result) == [
        (
            "manifests/b.yaml:10: metadata.name: "
            "expected a Model name of its own, got phi, which manifests/a.yaml:3 has already"
        ),
        (
            "manifests/c.yaml:3: metadata.name: "
            "expected a Model name of its own, got phi, which manifests/a.yaml:3 has already"
        ),
    ]
    assert [found.name for found in result.models] == ["qwen"]


def test_a_model_and_a_template_may_share_a_name() -> None:
    template = manifest("PromptTemplate", "phi", 'roles: {prompt: "{Content}"}')
    assert parsed({"a.yaml": model("phi"), "b.yaml": template}).problems == ()


def test_a_model_may_not_be_called_like_a_variant_of_another() -> None:
    result = parsed({"a.yaml": model("phi"), "b.yaml": model("phi-int4"), "c.yaml": model("phi-int8")})
    assert said(result) == [
        (
            "manifests/b.yaml:3: metadata.name: "
            "expected a name of its own, got phi-int4, which is a variant of the model at manifests/a.yaml:3"
        )
    ]
    assert [found.name for found in result.models] == ["phi", "phi-int8"]


def test_a_reference_names_a_template_that_is_declared() -> None:
    template = manifest("PromptTemplate", "support", 'roles: {prompt: "{Content}"}')
    result = parsed({"a.yaml": model("phi", "promptTemplate: {ref: suport}"), "b.yaml": template})
    assert said(result) == [
        ("manifests/a.yaml:7: spec.promptTemplate.ref: expected the name of a PromptTemplate, but there is no suport")
    ]
    assert result.problems[0].hint == "did you mean support?"


@pytest.mark.parametrize(
    "spec",
    [
        "roles: {prompt: x}",
        "jinja: t/none.jinja",
        "jinja: t/bad.jinja",
        "roles: &a {prompt: '{Content}'}",
        "nothing: 1",
    ],
)
def test_a_broken_template_is_one_problem_however_many_models_use_it(spec: str) -> None:
    template = manifest("PromptTemplate", "support", spec)
    files = {f"{i}.yaml": model(f"m{i}", "promptTemplate: {ref: support}") for i in range(3)}
    bad = {"/repo/manifests/t/bad.jinja": b"{% if %}"}
    result = parsed(files | {"z.yaml": template}, templates=bad)
    assert len(result.problems) == 1
    assert result.models == ()


def test_a_template_file_that_two_models_use_is_judged_once() -> None:
    bad = {"/repo/manifests/t/bad.jinja": b"hello\n{% if x %}\nmessages"}
    files = {f"{i}.yaml": model(f"m{i}", "promptTemplate: {jinja: t/bad.jinja}") for i in range(3)}
    result = parsed(files, templates=bad)
    assert [(p.file, p.line, p.code) for p in result.problems] == [("manifests/t/bad.jinja", 2, "TemplateSyntax")]


def test_a_template_that_relies_on_trimming_is_worth_a_warning() -> None:
    loose = {"/repo/manifests/t/loose.jinja": b"{% for m in messages %}\n{{ m.content }}\n{% endfor %}\n"}
    result = parsed({"a.yaml": model("phi", "promptTemplate: {jinja: t/loose.jinja}")}, templates=loose)
    assert [(w.file, w.line, w.code) for w in result.warnings] == [("manifests/t/loose.jinja", 1, "TemplateWhitespace")]
    assert len(result.models) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hello", "1: expected a manifest (apiVersion, kind, metadata, spec), got hello"),
        ("[a]", "1: expected a manifest (apiVersion, kind, metadata, spec), got a list"),
        (f"apiVersion: {GROUP}\nkind: model\n", f"2: kind: expected {KINDS}, got model"),
        (f"apiVersion: {GROUP}\nkind: [Model]\n", f"2: kind: expected {KINDS}, got a list"),
        (f"apiVersion: {GROUP}\n", f"1: kind: expected {KINDS}, got nothing"),
        ("apiVersion: v1\nkind: Model\n", f"1: apiVersion: expected {GROUP}, got v1"),
    ],
)
def test_a_document_says_what_it_is(text: str, problem: str) -> None:
    assert said(parsed({"a.yaml": text})) == [f"manifests/a.yaml:{problem}"]


def test_what_the_loader_refused_is_not_said_twice() -> None:
    result = parsed({"a.yaml": model("phi", "generation: *a", precisions="!!x int4")})
    assert [problem.code for problem in result.problems] == ["TagRefused", "AliasRefused"]


def test_a_habit_is_one_problem() -> None:
    result = parsed({"a.yaml": model("phi", "generation: *a", "target: *b", precisions="[*c, *d]")})
    assert said(result) == ["manifests/a.yaml:6: spec.precisions[0]: expected a value, got an alias (*) (and 3 more)"]


def test_one_bad_document_harms_only_itself() -> None:
    files = {f"{i:03}.yaml": model(f"m{i}") for i in range(99)} | {"050-poison.yaml": "a: &a [*a]\n"}
    result = parsed(files)
    assert len(result.models) == 99
    assert {problem.file for problem in result.problems} == {"manifests/050-poison.yaml"}


def test_problems_come_in_the_order_of_files_and_lines() -> None:
    files = {"b.yaml": f"{model('B')}---\n{model('a', 'fences: []')}", "a.yaml": "a: [", "c.yaml": model("phi", "x: 1")}
    lines = [(problem.file, problem.line) for problem in parsed(files).problems]
    assert lines == sorted(lines)
    assert len(lines) == 4


def test_the_order_of_files_means_nothing() -> None:
    files = {f"{i}.yaml": model(f"m{i}") for i in range(5)} | {"x.yaml": model("m1"), "y.yaml": "a: *b"}
    assert parsed(files) == parsed(dict(reversed(files.items())))
