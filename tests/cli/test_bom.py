"""`bom`: a document that the official schema of CycloneDX takes, with what is known of a variant, and what is not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.machine.trust import Origin
from reconciler.domain.sources.locked import LOCK_NAME, LockedFile, LockedSource
from reconciler.manifests.lock_file import render
from tests.at_rest import FAITHFUL, TREE, opened, serve
from tests.machine import TestMachine

CARD = """---
license: {license}
license_name: house-rules
license_link: https://example.org/rules
pipeline_tag: text-generation
base_model: [acme/base]
datasets: [acme/maps]
---
# Capitals
"""


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare(precisions="int4, int8")
    return one


def checked(machine: TestMachine, *arguments: str) -> tuple[Any, str]:
    """The document, which keeps to the schema, and what is said beside it."""
    validation = pytest.importorskip("cyclonedx.validation.json")  # not in every environment that looks only
    from cyclonedx.schema import SchemaVersion

    done = machine.run("bom", *arguments)
    assert done.code == 0, done.err
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(done.out) is None
    bom = done.json()
    _check_refs(bom)
    return bom, done.err


def _check_refs(bom: Any) -> None:
    """Each is there once, and whatever is referred to is there."""
    given: list[str] = []

    def collect(node: Any) -> None:
        for one in node if isinstance(node, list) else [node]:
            if isinstance(one, dict):
                given.extend([one["bom-ref"]] if "bom-ref" in one else [])
                collect(list(one.values()))
            elif isinstance(one, list):
                collect(one)

    collect(bom)
    assert len(given) == len(set(given))
    used = {ref for one in bom["dependencies"] for ref in (one["ref"], *one.get("dependsOn", ()))}
    used |= {ref for one in bom["compositions"] for ref in one["assemblies"]}
    used |= {
        held["resource"]["ref"]
        for formula in bom.get("formulation", ())
        for flow in formula["workflows"]
        for held in (*flow["inputs"], *flow["outputs"])
    }
    assert used <= set(given)


def component(bom: Any, kind: str) -> Any:
    """The subject, or the one other component, whose reference begins so."""
    (found,) = [
        one for one in (bom["metadata"]["component"], *bom["components"]) if one["bom-ref"].startswith(f"{kind}/")
    ]
    return found


def properties(one: Any) -> dict[str, str]:
    return {held["name"].removeprefix("reconciler.foundry:"): held["value"] for held in one["properties"]}


def test_a_built_variant_with_its_source_files_tools_and_numbers(machine: TestMachine) -> None:
    (machine.folder / "fleet" / "model" / "README.md").write_text(CARD.format(license="apache-2.0"))
    serve(machine)
    bom, said = checked(machine, "capitals-int4")
    assert said == ""
    variant, source = component(bom, "variant"), component(bom, "source")
    assert bom["metadata"]["component"] == variant
    assert variant["type"] == "machine-learning-model"
    assert {one["name"] for one in variant["components"]} == set(TREE)
    key = properties(variant)["buildKey"]
    artifact = opened(machine).store.artifacts()[key]
    assert variant["version"] == artifact.digest
    digests = {one.path: one.digest[7:] for one in artifact.files}
    assert {one["name"]: one["hashes"][0]["content"] for one in variant["components"]} == digests
    assert {one["name"] for one in source["components"]} >= {"config.json", "model.safetensors", "tokenizer.json"}
    for one in (variant, source):
        assert one["licenses"] == [{"expression": "Apache-2.0", "acknowledgement": "declared"}]
    assert source["pedigree"]["ancestors"][0]["name"] == "acme/base"
    card = variant["modelCard"]
    assert card["modelParameters"]["modelArchitecture"] == "Qwen2ForCausalLM"
    assert card["modelParameters"]["datasets"][0]["name"] == "acme/maps"
    metrics = {one["type"]: one["value"] for one in card["quantitativeAnalysis"]["performanceMetrics"]}
    assert metrics["top-1 agreement with the source"] == f"{FAITHFUL.top1_agreement:.6g}"
    assert properties(variant)["quantization.blockSize"] == "32"
    (formula,) = bom["formulation"]
    assert any(one["purl"].startswith("pkg:pypi/olive-ai@") for one in formula["components"])
    assert formula["workflows"][0]["uid"] == key
    assert bom["compositions"] == [{"aggregate": "complete", "assemblies": [variant["bom-ref"], source["bom-ref"]]}]


def test_the_same_inputs_give_the_same_document(machine: TestMachine, tmp_path: Path, capitals: Path) -> None:
    """On another machine too, but for the time; and another artifact has another serial number."""
    serve(machine)
    other = TestMachine(folder=tmp_path / "other")
    other.give_model(capitals)
    other.declare(precisions="int4, int8")
    serve(other)
    dated, bom = machine.run("bom", "capitals").json(), machine.run("bom", "capitals", "--no-time")
    assert bom.out == other.run("bom", "capitals", "--no-time").out
    assert dated["serialNumber"] == bom.json()["serialNumber"]
    assert dated["metadata"].pop("timestamp").endswith("Z")
    assert dated == bom.json()
    (other.folder / "fleet" / "model" / "generation_config.json").write_text('{"eos_token_id": 2}')
    assert other.run("bom", "capitals", "--no-time").json()["serialNumber"] != dated["serialNumber"]


def test_what_is_not_built_is_named(machine: TestMachine) -> None:
    bom, said = checked(machine, "capitals")
    assert "capitals-int8: missing: its files: it is not built here" in said
    assert bom["metadata"]["component"]["bom-ref"] == "model/capitals"
    assert bom["metadata"]["lifecycles"] == [{"phase": "pre-build"}]
    assert "timestamp" not in bom["metadata"]
    incomplete = next(one for one in bom["compositions"] if one["aggregate"] == "incomplete")
    assert incomplete["assemblies"] == ["variant/capitals-int4", "variant/capitals-int8"]
    source = component(bom, "source")
    assert "licence" in properties(source)["missing"]
    assert "licenses" not in source


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("mit or apache-2.0", {"expression": "MIT OR Apache-2.0"}),
        ("[mit, apache-2.0]", {"expression": "MIT AND Apache-2.0"}),
        ("llama3.1", {"license": {"name": "llama3.1", "url": "https://example.org/rules"}}),
        ("other", {"license": {"name": "house-rules", "url": "https://example.org/rules"}}),
        ("&a mit", None),  # no manifest would be read so, and nothing else is
        ("", None),
    ],
)
def test_licences_are_spdx_where_they_are_one(machine: TestMachine, written: str, expected: Any) -> None:
    (machine.folder / "fleet" / "model" / "README.md").write_text(CARD.format(license=written))
    bom, _ = checked(machine, "capitals")
    (found,) = component(bom, "source").get("licenses", [None])
    if found is not None:
        (found.get("license") or found).pop("acknowledgement")
    assert found == expected


def test_a_source_of_the_hub_that_was_never_here(machine: TestMachine) -> None:
    locked = LockedSource(
        repo="acme/capitals",
        revision="c0ffee" * 6 + "c0ff",
        files=(LockedFile(path="model.safetensors", size=5, sha256="ab" * 32),),
    )
    path = machine.declare()
    source = f"{{huggingface: {{repo: {locked.repo}, revision: {locked.revision}}}}}"
    path.write_text(path.read_text().replace("{path: ../model}", source))
    (machine.manifests / LOCK_NAME).write_bytes(render([locked]))
    bom, said = checked(machine, "capitals-int4")
    assert "its recipe and tools" in said
    found = component(bom, "source")
    assert found["purl"] == f"pkg:huggingface/acme/capitals@{locked.revision}"
    assert (found["group"], found["name"], found["version"]) == ("acme", "capitals", locked.revision)
    assert found["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert "formulation" not in bom
    assert "buildKey" not in properties(component(bom, "variant"))


def test_what_was_pulled_says_from_where(machine: TestMachine) -> None:
    serve(machine)
    (artifact, *_) = opened(machine).store.artifacts().values()
    origin = Origin(
        artifact=artifact.digest,
        build_key=artifact.build_key,
        registry="ghcr.io/acme/models",
        signed_by="sha256:" + "1" * 64,
        since="2026-01-01T00:00:00Z",
    )
    opened(machine).records.save_origin(origin, {artifact.digest})
    bom, _ = checked(machine, "capitals")
    (found,) = [one for one in bom["components"] if one.get("version") == artifact.digest]
    assert found["purl"].startswith("pkg:oci/models@sha256%3A")
    assert found["purl"].endswith("?repository_url=ghcr.io/acme/models")
    assert properties(found)["signedBy"] == origin.signed_by


def test_an_unknown_name(machine: TestMachine) -> None:
    done = machine.run("bom", "nobody")
    assert (done.code, done.out) == (1, "")
    assert "no manifest declares nobody" in done.err
    assert "declared: capitals" in done.err


def test_numbers_that_nobody_could_measure_are_none(machine: TestMachine) -> None:
    serve(machine)
    records = opened(machine).records
    for key in opened(machine).store.artifacts():
        records.save_fidelity(replace(FAITHFUL, build_key=key, unmeasured="no source"))
    bom, said = checked(machine, "capitals-int4")
    assert "its fidelity" in said
    assert "quantitativeAnalysis" not in json.dumps(bom)
