"""What each rule of a policy says of a model, and what follows for its variants."""

from dataclasses import replace

import pytest

from reconciler.domain.manifest import Model, Template
from reconciler.domain.policy.judge import JudgedModel, JudgedPart, build_result, judge_model
from reconciler.domain.policy.licenses import declared_license, lets_through, one_license
from reconciler.domain.policy.policy import LicenseRule, Policy, PolicyResult, PolicyRules, SignatureRule, denial_of
from reconciler.domain.sources.model_card import ModelCard

HUB = "spec.source.huggingface"
MODEL = Model(
    name="phi",
    file="manifests/phi.yaml",
    line=1,
    lines={HUB: 7, "spec.source": 6, "spec.precisions[0]": 8, "spec.precisions[1]": 8},
    precisions=("int4", "int8"),
    template=Template(origin="source", jinja=None),
)
APACHE = ModelCard(licenses=("apache-2.0",))
BASE = JudgedPart(field=HUB, name="huggingface/microsoft/phi", card=APACHE)
KNOWN = JudgedModel(
    model=MODEL, parts=(BASE,), architecture="Phi3ForCausalLM", weight_bytes=5 << 30, gates=frozenset({"fidelity"})
)
COMING = replace(BASE, card=None, comes=True)


def policy(**rules: object) -> Policy:
    lines = {"licenses": 5, "sources": 6}
    return Policy(name="house", file="manifests/policy.yaml", line=1, rules=PolicyRules(**rules), lines=lines)  # type: ignore[arg-type]


def said(judged: JudgedModel = KNOWN, **rules: object) -> list[tuple[str, str]]:
    return [(one.result, one.message) for one in judge_model(policy(**rules), judged)]


def licensed(*licenses: str, name: str = "", **rule: object) -> tuple[str, str]:
    part = replace(BASE, card=ModelCard(licenses=licenses, license_name=name))
    [found] = said(replace(KNOWN, parts=(part,)), licenses=LicenseRule(**rule))  # type: ignore[arg-type]
    return found


OPEN = {"allow": ("Apache-2.0", "MIT", "GPL-2.0-only", "LicenseRef-llama3.2")}


@pytest.mark.parametrize(
    ("licenses", "rule", "result", "message"),
    [
        (("apache-2.0",), OPEN, "pass", "Apache-2.0"),
        (("AGPL-3.0-only OR MIT",), OPEN, "pass", "AGPL-3.0-only OR MIT"),
        (
            ("AGPL-3.0-only AND MIT",),
            OPEN,
            "fail",
            "expected Apache-2.0, MIT, GPL-2.0-only or LicenseRef-llama3.2, got",
        ),
        (("mit", "cc-by-nc-4.0"), OPEN, "fail", "got MIT AND CC-BY-NC-4.0"),
        (("GPL-2.0-only WITH Classpath-exception-2.0",), OPEN, "pass", ""),
        (("GPL-2.0-or-later",), OPEN, "fail", "got GPL-2.0-or-later"),
        (("llama3.2",), OPEN, "pass", "LicenseRef-llama3.2"),
        (("gemma",), OPEN, "fail", "got LicenseRef-gemma"),
        (("agpl-3.0",), {"deny": ("AGPL-3.0-only",)}, "fail", "expected none of AGPL-3.0-only, got AGPL-3.0-only"),
        (("agpl-3.0 OR mit",), {"deny": ("AGPL-3.0-only",)}, "pass", ""),
        (("gemma",), {"deny": ("AGPL-3.0-only",)}, "pass", ""),
        ((), OPEN, "fail", "expected a licence that SPDX or its own name tells, got none"),
        (("other",), OPEN, "fail", "got other"),
        (("unknown",), {"deny": ("MIT",)}, "fail", "got unknown"),
        (("Apache License 2.0",), OPEN, "fail", "got Apache License 2.0"),
        (("mit/x",), OPEN, "fail", "got mit/x"),
        ((), OPEN | {"unknown": "warn"}, "warn", "got none"),
    ],
    ids=str,
)
def test_licenses(licenses: tuple[str, ...], rule: dict[str, object], result: str, message: str) -> None:
    found = licensed(*licenses, **rule)
    assert found[0] == result
    assert message in found[1]


def test_a_license_that_has_only_a_name() -> None:
    assert licensed("other", name="Llama3.2", **OPEN) == ("pass", "LicenseRef-llama3.2")
    assert licensed("other", name="Our very own terms", **OPEN)[0] == "fail"


@pytest.mark.parametrize(
    ("written", "id_"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("LicenseRef-Llama3.2", "LicenseRef-llama3.2"),
        ("Apache2.0", ""),
        ("MIT OR Apache-2.0", ""),
        ("llama3.2", ""),
        ("(" * 500, ""),
        ("", ""),
    ],
)
def test_the_id_of_one_license(written: str, id_: str) -> None:
    assert one_license(written) == id_


def test_all_licenses_of_a_card_hold_together() -> None:
    expression = declared_license(ModelCard(licenses=("mit OR isc", "apache-2.0")))
    assert expression == "(MIT OR ISC) AND Apache-2.0"
    assert lets_through(expression, {"ISC", "Apache-2.0"}.__contains__)
    assert not lets_through(expression, {"ISC", "MIT"}.__contains__)


def test_a_license_is_decided_when_its_card_comes() -> None:
    [found] = judge_model(policy(licenses=LicenseRule(allow=("MIT",))), replace(KNOWN, parts=(COMING,)))
    assert (found.result, found.fetches) == ("pending", True)
    assert "once the source is here" in found.message
    [found] = judge_model(
        policy(licenses=LicenseRule(allow=("MIT",))), replace(KNOWN, parts=(replace(BASE, card=None),))
    )
    assert (found.result, found.line, found.policy_line) == ("fail", 7, 5)
    assert "`reconciler lock`" in found.hint


def test_the_adapter_has_a_license_of_its_own() -> None:
    adapter = JudgedPart(field="spec.source.adapter", name="path", card=ModelCard(licenses=("cc-by-nc-4.0",)))
    rule = LicenseRule(allow=("Apache-2.0",))
    results = judge_model(policy(licenses=rule, sources=("huggingface/*",)), replace(KNOWN, parts=(BASE, adapter)))
    assert [(one.rule, one.field, one.result) for one in results] == [
        ("licenses", HUB, "pass"),
        ("sources", HUB, "pass"),
        ("licenses", "spec.source.adapter", "fail"),
        ("sources", "spec.source.adapter", "fail"),
    ]


@pytest.mark.parametrize(
    ("rules", "results"),
    [
        ({}, []),
        ({"sources": ("huggingface/Microsoft/*",)}, [("pass", "huggingface/microsoft/phi")]),
        (
            {"sources": ("huggingface/micro", "path")},
            [("fail", "expected huggingface/micro or path, got huggingface/microsoft/phi")],
        ),
        ({"max_source_size": float(5 << 30)}, [("pass", "5.0 GiB")]),
        ({"max_source_size": float(1 << 30)}, [("fail", "expected weights of at most 1.0 GiB, got 5.0 GiB")]),
        ({"architectures": ("Phi3ForCausalLM",)}, [("pass", "Phi3ForCausalLM")]),
        ({"architectures": ("LlamaForCausalLM",)}, [("fail", "expected LlamaForCausalLM, got Phi3ForCausalLM")]),
        ({"precisions": ("int8", "fp16")}, [("fail", "expected int8 or fp16, got int4"), ("pass", "int8")]),
        ({"gates": ("fidelity",)}, [("pass", "")]),
        ({"gates": ("fidelity", "prompts")}, [("fail", "expected the gates fidelity, prompts, without prompts")]),
        ({"signatures": SignatureRule(sources=True)}, [("pending", "it is decided on each machine")]),
        ({"signatures": SignatureRule(builds=True)}, [("pending", "it is decided on each machine")]),
    ],
    ids=str,
)
def test_each_rule(rules: dict[str, object], results: list[tuple[str, str]]) -> None:
    assert said(**rules) == results


def test_what_is_known_only_of_a_source_that_is_here() -> None:
    unseen = replace(KNOWN, architecture="", weight_bytes=0)
    results = judge_model(policy(architectures=("A",), max_source_size=1.0), unseen)
    assert [(one.result, one.fetches) for one in results] == [("pending", True), ("pending", True)]


@pytest.mark.parametrize(("doubt", "result"), [("", "pass"), ("it is unsigned", "fail")])
def test_signatures(doubt: str, result: str) -> None:
    signed = replace(KNOWN, parts=(replace(BASE, doubt=doubt),))
    assert said(signed, signatures=SignatureRule(sources=True)) == [(result, doubt)]
    [pending] = judge_model(policy(signatures=SignatureRule(builds=True)), KNOWN)
    assert build_result(pending, "int4", doubt).result == result


def test_a_policy_that_warns_denies_nothing() -> None:
    results = judge_model(policy(mode="warn", sources=("path",), architectures=("A",)), KNOWN)
    assert [one.result for one in results] == ["warn", "warn"]
    assert denial_of(results, "int4") is None


def result(**changes: object) -> PolicyResult:
    base = PolicyResult(
        policy="house", rule="licenses", result="fail", model="phi", message="no", policy_file="p.yaml", policy_line=5
    )
    return replace(base, **changes)  # type: ignore[arg-type]


PENDING = result(result="pending", fetches=True, message="later")


@pytest.mark.parametrize(
    ("results", "message", "fetches", "retires"),
    [
        ([result()], "policy house, rule licenses (p.yaml:5): no", False, False),
        ([PENDING], "policy house, rule licenses (p.yaml:5): later", True, False),
        ([PENDING, result(retires=True)], "policy house, rule licenses (p.yaml:5): no (and 1 more)", False, True),
        ([replace(PENDING, retires=True)], "policy house, rule licenses (p.yaml:5): later", True, False),
        ([result(rule="", result="error", retires=True)], "policy house (p.yaml:5): no", False, False),
        (
            [PENDING, result(result="pending")],
            "policy house, rule licenses (p.yaml:5): later (and 1 more)",
            False,
            False,
        ),
    ],
)
def test_a_denial(results: list[PolicyResult], message: str, *, fetches: bool, retires: bool) -> None:
    denial = denial_of(results, "int4")
    assert denial is not None
    assert (denial.message, denial.fetches, denial.retires) == (message, fetches, retires)


def test_what_denies_nothing() -> None:
    assert (
        denial_of(
            [result(precision="int8"), result(result="warn"), result(enforced=False), result(result="pass")], "int4"
        )
        is None
    )


def test_a_broken_policy_denies_with_an_error() -> None:
    [found] = judge_model(replace(policy(), broken=True), KNOWN)
    assert (found.result, found.rule, found.policy_line, found.holds) == ("error", "", 1, True)
    [found] = judge_model(replace(policy(mode="warn"), broken=True), KNOWN)
    assert not found.holds
