"""What each field accepts, and what a person is told when it does not."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from reconciler.domain.errors import Problem
from reconciler.domain.targets.execution_providers import CONVERTED
from reconciler.domain.text.quoting import listed
from reconciler.manifests.loader import load
from reconciler.manifests.problems import accepted
from reconciler.manifests.schema import AUTO_HINT, KINDS, Manifest, ModelManifest, json_schema
from reconciler.templates.presets import PRESETS

HEAD = "apiVersion: reconciler.foundry/v1alpha1\nkind: "
SCHEMA_FILE = Path(__file__).parents[2] / "schema" / "v1alpha1.json"


def model(*spec: str, metadata: str = "{name: phi}", source: str = "{path: ../phi}", precisions: str = "[int4]") -> str:
    fields = [f"source: {source}", f"precisions: {precisions}", *spec]
    return f"{HEAD}Model\nmetadata: {metadata}\nspec:\n" + "".join(f"  {field}\n" for field in fields)


def read(text: str) -> Manifest | tuple[Problem, ...]:
    (document,) = load("a.yaml", text.encode()).documents
    assert document.problems == ()
    assert isinstance(document.data, dict)
    return accepted(document, "a.yaml", KINDS[document.data["kind"]])


def read_model(*spec: str, **rest: str) -> ModelManifest:
    manifest = read(model(*spec, **rest))
    assert isinstance(manifest, ModelManifest), manifest
    return manifest


def problem(text: str) -> Problem:
    problems = read(text)
    assert isinstance(problems, tuple)
    (only,) = problems
    return only


@pytest.mark.parametrize(
    ("metadata", "hint"),
    [
        ("{name: phi, namespace: prod}", "there are no namespaces here: a name is one for the whole repository"),
        ("{name: phi, uid: 7}", "Kubernetes keeps that of objects that it stores"),
    ],
)
def test_what_people_know_from_kubernetes(metadata: str, hint: str) -> None:
    found = problem(model(metadata=metadata))
    assert found.message.startswith("expected name, labels or annotations, got ")
    assert found.hint.startswith(hint)
    assert isinstance(read(model()), ModelManifest)  # without the field it is right


def test_a_manifest_with_every_field() -> None:
    manifest = read_model(
        "quantization: {blockSize: 64, symmetric: false, accuracyLevel: 4, algorithm: k_quant_mixed}",
        "target: {device: cpu, executionProvider: CPUExecutionProvider}",
        "promptTemplate: {ref: support}",
        "generation: {maxLength: 2048, temperature: 0.7, topP: 1, topK: 50, repetitionPenalty: 1.1,",
        "  noRepeatNgramSize: 3, randomSeed: 7}",
        "gates: [fidelity: {skip: a draft}, prompts: {cases: [{prompt: hi, regex: 1.0}], minPass: 1}]",
        "suspend: true",
        "retainFor: 1h30m",
        "revisionHistoryLimit: 3",
        "dependsOn: [draft]",
        "retry: {limit: 5}",
        "nodeSelector: {matchLabels: {rack: 7}, matchExpressions: [{key: a, operator: Gt, values: [1]}]}",
        metadata="{name: phi, labels: {tier: demo}, annotations: {reconciler.foundry/prune: disabled}}",
        source="{path: ../phi, adapter: ../lora}",
        precisions="[int4, int8, fp32]",
    )
    assert manifest.model_dump(by_alias=True, warnings=False, exclude_none=True) == {
        "apiVersion": "reconciler.foundry/v1alpha1",
        "kind": "Model",
        "metadata": {
            "name": "phi",
            "labels": {"tier": "demo"},
            "annotations": {"reconciler.foundry/prune": "disabled"},
        },
        "spec": {
            "source": {"path": "../phi", "adapter": "../lora"},
            "precisions": ["int4", "int8", "fp32"],
            "quantization": {"blockSize": 64, "symmetric": False, "accuracyLevel": 4, "algorithm": "k_quant_mixed"},
            "target": {"device": "cpu", "executionProvider": "CPUExecutionProvider"},
            "task": "chat-completion",
            "promptTemplate": {"ref": "support"},
            "generation": {
                "maxLength": 2048,
                "temperature": 0.7,
                "topP": 1.0,
                "topK": 50,
                "repetitionPenalty": 1.1,
                "noRepeatNgramSize": 3,
                "randomSeed": 7,
            },
            "gates": [
                {"fidelity": {"skip": "a draft"}},
                {
                    "prompts": {
                        "cases": [{"prompt": "hi", "regex": "1.0"}],
                        "minPass": 1,
                        "maxTokens": 64,
                        "greedy": True,
                    }
                },
            ],
            "suspend": True,
            "dependsOn": ["draft"],
            "retry": {"limit": 5},
            "retainFor": "1h30m",
            "revisionHistoryLimit": 3,
            "nodeSelector": {
                "matchLabels": {"rack": "7"},
                "matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}],
            },
        },
    }


@pytest.mark.parametrize("written", ["no", "on", "yes", "y", "true", "e1", "a-1"])
def test_a_name_is_the_text_that_was_written(written: str) -> None:
    assert read_model(metadata=f"{{name: {written}}}").metadata.name == written


@pytest.mark.parametrize("written", ["no", "1.10", "12:30", "014", "1_000", "~", "null", "true", "0x1", ""])
def test_labels_and_annotations_keep_the_text_that_was_written(written: str) -> None:
    metadata = read_model(metadata=f"{{name: phi, labels: {{a: {written}}}, annotations: {{a: {written}}}}}").metadata
    assert (metadata.labels, metadata.annotations) == ({"a": written}, {"a": written})
    assert type(metadata.labels["a"]) is str


@pytest.mark.parametrize("written", ["", "~", "null", "Null", "NULL"])
@pytest.mark.parametrize(
    "field", ["quantization: {}", "target: {}", "promptTemplate: {}", "generation: {}", "generation: {{topK: {}}}"]
)
def test_null_is_a_field_that_is_not_set(field: str, written: str) -> None:
    assert read_model(field.format(written)).model_dump(exclude_none=True) in (
        read_model().model_dump(exclude_none=True),
        read_model("generation: {}").model_dump(exclude_none=True),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature: 1", 1.0),
        ("temperature: 1.5e0", 1.5),
        ("temperature: .5", 0.5),
        ("temperature: 0", 0.0),
        ("topK: +5", 5),
        ("randomSeed: -1", -1),
    ],
)
def test_a_plain_number_becomes_a_number(field: str, value: float) -> None:
    generation = read_model(f"generation: {{{field}}}").spec.generation
    assert generation is not None
    assert list(generation.model_dump(exclude_none=True).values()) == [value]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_named(preset: str) -> None:
    assert read_model(f"promptTemplate: {preset}").spec.prompt_template == preset


NAME = "expected a name of at most 40 lower-case letters, digits and dashes, starting with a letter"
PRESET = f"expected a preset ({', '.join(PRESETS[:-1])} or source) or one of ref, roles and jinja"
FORMS = "expected one template: the name of a preset, or one of ref, roles and jinja"
COMMIT = "c0ffee" * 6 + "c0ff"
REPO = "expected the name of a model on the hub, such as org/name"
FILES = (
    "expected a pattern for files in the top folder that ends in .safetensors, .onnx, .onnx.data, .onnx_data, .json, "
    ".jinja, .txt, .model, .md or .sig"
)
PATTERN = "expected text with {Content} in it, once"


@pytest.mark.parametrize(
    ("text", "field", "line", "message", "hint"),
    [
        (model(metadata="{name: 1a}"), "metadata.name", 3, f"{NAME}, got 1a", ""),
        (model(metadata="{name: ~}"), "metadata.name", 3, f"{NAME}, got null", ""),
        (model(metadata="{name: null}"), "metadata.name", 3, f"{NAME}, got null", ""),
        (model(metadata="{name: }"), "metadata.name", 3, f"{NAME}, got nothing", ""),
        (model(metadata="{}"), "metadata.name", 3, "expected a value, got nothing", ""),
        (model(metadata="{name: [a]}"), "metadata.name", 3, f"{NAME}, got a list", ""),
        (model(metadata="{name: phi, Labels: {}}"), "metadata.Labels", 3, None, "did you mean labels?"),
        (model(metadata="{name: phi, labels: {a: [b]}}"), "metadata.labels.a", 3, None, ""),
        (model(metadata="{name: phi, labels: x}"), "metadata.labels", 3, "expected a mapping, got x", ""),
        (model(metadata="phi"), "metadata", 3, None, "write its fields: name, labels, annotations"),
        (model(source="../phi"), "spec.source", 5, "expected a mapping, got ../phi", "write {path: ../phi}"),
        (
            model(source='""'),
            "spec.source",
            5,
            None,
            "write its fields: path, huggingface, catalog, onnx, original, adapter",
        ),
        (model('disk: ""'), "spec.disk", 7, None, "write its fields: strategy"),
        *(
            (model(f"{field}: {written}"), f"spec.{field}{within}", 7, None, f"write {meant}")
            for field, written, within, meant in (
                ("target", "{device: cuda}", ".device", "executionProvider: CUDAExecutionProvider"),
                ("gates", "{prompts: {}}", "", "a list, each item behind a dash: `- prompts: ...`"),
                ("gates", "[fidelity]", "[0]", "`fidelity: ...`"),
                ("gates", "[performance: [a: 2s]]", "[0].performance", "`name: value`, without a dash"),
                ("gates", "[fidelity: {minTop1Agreement: 90}]", "[0].fidelity.minTop1Agreement", "0.9, a share of 1"),
                ("generation", "{topP: 95%}", ".topP", "0.95, a share of 1"),
                ("gates", "[performance: {maxTimeToFirstToken: 2}]", "[0].performance.maxTimeToFirstToken", "2s"),
                ("gates", "[performance: {maxPeakMemory: 4 gb}]", "[0].performance.maxPeakMemory", "4Gi"),
                ("retainFor", "7d", "", "168h"),
                ("dependsOn", "draft", "", "[draft]"),
                ("disk", "delete-then-build", "", "{strategy: delete-then-build}"),
                ("promptTemplate", "brief", "", "{ref: brief} for the PromptTemplate of that name"),
            )
        ),
        *(
            (model(f"target: {{executionProvider: {word}}}"), "spec.target.executionProvider", 7, None, hint)
            for word, hint in (
                ("cuda", "did you mean CUDAExecutionProvider?"),
                ("directml", "did you mean DmlExecutionProvider?"),
                ("TensorrtExecutionProvider", "models are not converted for others"),
            )
        ),
        *(
            (model(f"task: {word}"), "spec.task", 7, None, f"did you mean {meant}?")
            for word, meant in (("embedding", "embeddings"), ("chat", "chat-completion"))
        ),
        *(
            (model(precisions=written), f"spec.precisions{within}", 6, None, hint)
            for written, within, hint in (("[auto, int4]", "[0]", AUTO_HINT), ("int4, int8", "", "write [int4, int8]"))
        ),
        *(
            (
                model(source=source),
                "spec.source",
                5,
                f"expected one source, either `path`, `huggingface`, `catalog` or `onnx`, got {got}",
                "",
            )
            for source, got in (
                ("{}", "neither"),
                ("{path: }", "neither"),
                ("{path: a, huggingface: {repo: a/b}}", "path and huggingface"),
            )
        ),
        (
            model(source="{oci: x}"),
            "spec.source",
            5,
            "expected `path`, `huggingface`, `catalog` or `onnx`, got oci",
            "a ready ONNX model in a registry is `onnx: {oci: ...}`; of another give the folder as `path`",
        ),
        *(
            (model(source=f"{{huggingface: {{{text}}}}}"), f"spec.source.huggingface.{field}", 5, message, None)
            for text, field, message in (
                (f"repo: a/b, revision: {'A' * 40}", "revision", f"expected a commit of 40 hex digits, got {'A' * 40}"),
                (f"repo: phi, revision: {COMMIT}", "repo", f"{REPO}, got phi"),
                (f"repo: a/../b, revision: {COMMIT}", "repo", f"{REPO}, got a/../b"),
                (f"repo: a/--b, revision: {COMMIT}", "repo", f"{REPO}, got a/--b"),
                (
                    f"repo: a/b, revision: {COMMIT}, include: []",
                    "include",
                    "expected at least one item, got an empty list",
                ),
                (f"repo: a/b, revision: {COMMIT}, include: ['*']", "include[0]", f'{FILES}, got the text "*"'),
                (f"repo: a/b, revision: {COMMIT}, include: [a.bin]", "include[0]", f"{FILES}, got a.bin"),
                (f"repo: a/b, revision: {COMMIT}, include: [x/a.json]", "include[0]", f"{FILES}, got x/a.json"),
                ("repo: a/b", "revision", "expected a value, got nothing"),
            )
        ),
        (
            model(source="{huggingface: {repo: a/b, revision: main}}"),
            "spec.source.huggingface.revision",
            5,
            "expected a commit of 40 hex digits, got main",
            "a branch can move; `reconciler lock --commit-of org/name@main` prints the commit it is at",
        ),
        (
            model(precisions="int4"),
            "spec.precisions",
            6,
            "expected a list of precisions, or auto, got int4",
            "write [int4]",
        ),
        (
            model(precisions="atuo"),
            "spec.precisions",
            6,
            "expected a list of precisions, or auto, got atuo",
            "did you mean auto?",
        ),
        (
            model(precisions="{auto: [int5]}"),
            "spec.precisions.auto[0]",
            6,
            "expected fp32, fp16, bf16, int8 or int4, got int5",
            "did you mean int4?",
        ),
        (model(precisions="[]"), "spec.precisions", 6, "expected at least one item, got an empty list", ""),
        (model(precisions=""), "spec.precisions", 6, "expected a list, got nothing", ""),
        (
            model(precisions="[int4, INT8]"),
            "spec.precisions[1]",
            6,
            "expected fp32, fp16, bf16, int8 or int4, got INT8",
            "did you mean int8?",
        ),
        (
            model("quantization: {blockSize: 17}"),
            "spec.quantization.blockSize",
            7,
            "expected a power of two from 16 to 256, got 17",
            "",
        ),
        (
            model('quantization: {blockSize: "32"}'),
            "spec.quantization.blockSize",
            7,
            'expected a power of two from 16 to 256, got the text "32"',
            "remove the quotes",
        ),
        (
            model("quantization: {symmetric: yes}"),
            "spec.quantization.symmetric",
            7,
            "expected true or false, got yes",
            "write true",
        ),
        (
            model("quantization: {accuracyLevel: 0}"),
            "spec.quantization.accuracyLevel",
            7,
            "expected 1 (fp32), 2 (fp16), 3 (bf16) or 4 (int8), got 0",
            "",
        ),
        (
            model("quantization: {algorithm: kquant}"),
            "spec.quantization.algorithm",
            7,
            "expected default, rtn, k_quant, k_quant_mixed or k_quant_last, got kquant",
            "did you mean k_quant?",
        ),
        (
            model("quantization: {block_size: 32}"),
            "spec.quantization.block_size",
            7,
            "expected blockSize, symmetric, accuracyLevel or algorithm, got block_size",
            "did you mean blockSize?",
        ),
        (
            model("target: {device: npu}"),
            "spec.target.device",
            7,
            "expected cpu or gpu, got npu",
            "models are not converted for others",
        ),
        (
            model("target: {executionProvider: QNNExecutionProvider}"),
            "spec.target.executionProvider",
            7,
            f"expected {listed(CONVERTED)}, got QNNExecutionProvider",
            "models are not converted for others",
        ),
        (
            model("generation: {temperature: 2.5}"),
            "spec.generation.temperature",
            7,
            "expected a number from 0 to 2, got 2.5",
            "",
        ),
        (
            model("generation: {temperature: .inf}"),
            "spec.generation.temperature",
            7,
            "expected a number from 0 to 2, got .inf",
            "",
        ),
        (
            model("generation: {temperature: .nan}"),
            "spec.generation.temperature",
            7,
            "expected a number from 0 to 2, got .nan",
            "",
        ),
        (model("generation: {topP: 0}"), "spec.generation.topP", 7, "expected a number above 0, at most 1, got 0", ""),
        (
            model("generation: {topK: 1.0}"),
            "spec.generation.topK",
            7,
            "expected a whole number of at least 1, got 1.0",
            "",
        ),
        (
            model("generation: {topK: 1_000}"),
            "spec.generation.topK",
            7,
            "expected a whole number of at least 1, got 1_000",
            "",
        ),
        (
            model("generation: {topK: 014}"),
            "spec.generation.topK",
            7,
            "expected a whole number of at least 1, got 014",
            "",
        ),
        (
            model("generation: {topK: 1:30}"),
            "spec.generation.topK",
            7,
            "expected a whole number of at least 1, got 1:30",
            "",
        ),
        (model("generation: {topK: 99999999999999999999}"), "spec.generation.topK", 7, None, ""),
        (
            model("generation: {doSample: false}"),
            "spec.generation.doSample",
            7,
            None,
            "the runtime ignores do_sample; write `topK: 1` for greedy answers",
        ),
        (model("suspend:"), "spec.suspend", 7, "expected true or false, got nothing", ""),
        (
            model("retainFor: 10"),
            "spec.retainFor",
            7,
            "expected a duration such as 0s, 90s or 1h30m, at most 8760h, got 10",
            "write 10s",
        ),
        (
            model("retainFor: 8761h"),
            "spec.retainFor",
            7,
            "expected a duration such as 0s, 90s or 1h30m, at most 8760h, got 8761h",
            "",
        ),
        (
            model("revisionHistoryLimit: 21"),
            "spec.revisionHistoryLimit",
            7,
            "expected a whole number from 0 to 20, got 21",
            "",
        ),
        (
            model('suspend: "true"'),
            "spec.suspend",
            7,
            'expected true or false, got the text "true"',
            "remove the quotes",
        ),
        (model("gatez: []"), "spec.gatez", 7, None, "did you mean gates?"),
        (model("promptTemplate: chatmll"), "spec.promptTemplate", 7, f"{PRESET}, got chatmll", "did you mean chatml?"),
        (model("promptTemplate: [a]"), "spec.promptTemplate", 7, f"{PRESET}, got a list", ""),
        (model("promptTemplate: {}"), "spec.promptTemplate", 7, f"{FORMS}, got an empty mapping", ""),
        (model("promptTemplate: {ref: a, jinja: b}"), "spec.promptTemplate", 7, f"{FORMS}, got ref and jinja", ""),
        (model("promptTemplate: {ref: A}"), "spec.promptTemplate.ref", 7, f"{NAME}, got A", ""),
        (
            model("promptTemplate: {roles: {prompt: hi}}"),
            "spec.promptTemplate.roles.prompt",
            7,
            f"{PATTERN}, got hi",
            None,
        ),
        (
            model('promptTemplate: {roles: {prompt: "{Content}{Content}"}}'),
            "spec.promptTemplate.roles.prompt",
            7,
            f'{PATTERN}, got the text "{{Content}}{{Content}}"',
            None,
        ),
        (
            model('promptTemplate: {roles: {user: "{Content}"}}'),
            "spec.promptTemplate.roles.prompt",
            7,
            "expected a value, got nothing",
            "",
        ),
        (
            model('promptTemplate: {roles: {prompt: "{Content}", User: x}}'),
            "spec.promptTemplate.roles.User",
            7,
            "expected system, user, assistant or prompt, got User",
            "did you mean user?",
        ),
        (model().partition("\n")[2], "apiVersion", 1, None, "write `apiVersion: reconciler.foundry/v1alpha1`"),
        (f"{HEAD}Model\nmetadata: {{name: a}}\n", "spec", 1, "expected a value, got nothing", ""),
        (f"{HEAD}Model\nmetadata: {{name: a}}\nspec:\n", "spec", 4, "expected a mapping, got nothing", ""),
        (
            f"{HEAD}PromptTemplate\nmetadata: {{name: a}}\nspec: {{ref: b}}\n",
            "spec",
            4,
            "expected one template: either roles or jinja, got ref",
            "",
        ),
        (model() + "status: {}\n", "status", 7, "expected apiVersion, kind, metadata or spec, got status", None),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    text: str, field: str, line: int, message: str | None, hint: str | None
) -> None:
    said = problem(text)
    assert (said.file, said.line, said.field) == ("a.yaml", line, field)
    assert message is None or said.message == message
    assert hint is None or said.hint == hint


@pytest.mark.parametrize(
    "name",
    [
        "../../etc",
        "/x",
        "..",
        '""',
        "a/b",
        "'a\\b'",
        "'a:b'",
        "a.",
        "-rf",
        "$(id)",
        "a" * 41,
        "Phi",
        "a_b",
        "a-",
        "ä",
        "'a\n\n  b'",
    ],
)
def test_a_name_is_a_small_dns_label(name: str) -> None:
    said = problem(model(metadata=f"{{name: {name}}}").replace("ä", "\u00e4"))
    assert (said.code, said.line, said.field) == ("InvalidValue", 3, "metadata.name")
    assert said.message.isprintable()
    assert len(said.message) < 200


@pytest.mark.parametrize("name", ["con", "nul", "prn", "aux", "com1", "lpt9"])
def test_a_name_is_no_device_of_windows(name: str) -> None:
    said = problem(model(metadata=f"{{name: {name}}}"))
    assert said.message == f"expected a name that every system allows, got {name}"


def test_a_name_is_not_one_that_foundry_local_gives_its_own_models() -> None:
    assert "Foundry Local" in problem(model(metadata="{name: phi-4-generic-cpu}")).hint


def test_all_problems_of_a_document_are_said_at_once() -> None:
    problems = read(model("generation: {topK: 0, topP: 2}", "fences: []", metadata="{name: A}", precisions="[]"))
    assert isinstance(problems, tuple)
    assert [p.field for p in problems] == [
        "metadata.name",
        "spec.precisions",
        "spec.generation.topP",
        "spec.generation.topK",
        "spec.fences",
    ]


def test_the_checked_in_json_schema_is_the_one_of_these_types() -> None:
    current = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert SCHEMA_FILE.read_text(encoding="utf-8") == current, "run `reconciler schema > schema/v1alpha1.json`"


def _models(kind: type[BaseModel]) -> list[type[BaseModel]]:
    return [kind, *(each for inner in kind.__subclasses__() for each in _models(inner))]


def test_every_field_says_what_it_means() -> None:
    from reconciler.manifests.schema import Strict

    silent = [
        f"{kind.__name__}.{name}"
        for kind in _models(Strict)
        for name, f in kind.model_fields.items()
        if not f.description
    ]
    assert silent == []


def test_editors_accept_and_refuse_the_same_documents() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    base: dict[str, Any] = {
        "apiVersion": "reconciler.foundry/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "phi"},
        "spec": {"source": {"path": "../phi"}, "precisions": ["int4"]},
    }
    assert validator.is_valid(base)
    assert validator.is_valid(base | {"spec": base["spec"] | {"promptTemplate": {"ref": "a"}, "generation": None}})
    assert not validator.is_valid(base | {"kind": "model"})
    assert not validator.is_valid(base | {"metadata": {"name": "Phi"}})
    assert not validator.is_valid(base | {"spec": base["spec"] | {"promptTemplate": "chatmll"}})
    assert not validator.is_valid(base | {"spec": base["spec"] | {"quantization": {"blockSize": 17}}})
    template = {"kind": "PromptTemplate", "spec": {"roles": {"prompt": "{Content}"}}}
    assert validator.is_valid(base | template)
    assert not validator.is_valid(base | template | {"spec": {"ref": "a"}})
