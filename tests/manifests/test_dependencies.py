"""`dependsOn` and `retry` in manifests: what they declare, and what is wrong with them."""

import pytest

from tests.manifests.test_parse import model, parsed, said


def depending(name: str, *on: str) -> str:
    return model(name, f"dependsOn: [{', '.join(on)}]")


def test_what_is_declared() -> None:
    found = parsed({"a.yaml": model("draft"), "b.yaml": model("phi", "dependsOn: [draft]", "retry: {limit: 3}")})
    assert found.problems == ()
    draft, phi = found.models
    assert (draft.depends_on, draft.retry.limit) == ((), None)
    assert (phi.depends_on, phi.retry.limit) == (("draft",), 3)


WRONG = [
    (
        depending("phi", "drat"),
        ["manifests/b.yaml:7: spec.dependsOn[0]: expected the name of a Model, but there is no drat"],
    ),
    (
        depending("phi", "draft", "draft"),
        ["manifests/b.yaml:7: spec.dependsOn[1]: expected each model once, got draft again"],
    ),
    (
        depending("phi", "phi"),
        ["manifests/b.yaml:7: spec.dependsOn[0]: expected models that do not depend on this one, got phi -> phi"],
    ),
    (depending("phi", "Draft"), ["manifests/b.yaml:7: spec.dependsOn[0]: expected the name of a Model, got Draft"]),
    (model("phi", "dependsOn: draft"), ["manifests/b.yaml:7: spec.dependsOn: expected a list, got draft"]),
    (
        model("phi", "retry: {limit: -1}"),
        ["manifests/b.yaml:7: spec.retry.limit: expected a whole number from 0 to 1000, got -1"],
    ),
    (model("phi", "retry: {times: 1}"), ["manifests/b.yaml:7: spec.retry.times: expected limit, got times"]),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_what_is_wrong_is_named(text: str, expected: list[str]) -> None:
    found = parsed({"a.yaml": model("draft"), "b.yaml": text})
    assert said(found) == expected
    assert [one.name for one in found.models] == ["draft"]
    assert found.broken == {"phi"}


def test_a_circle_is_named_at_each_of_its_models_and_harms_no_other() -> None:
    found = parsed(
        {
            "a.yaml": depending("a", "b"),
            "b.yaml": depending("b", "out", "c"),
            "c.yaml": depending("c", "a"),
            "d.yaml": depending("into", "a"),
            "e.yaml": model("out"),
        }
    )
    assert [line.partition(", got ")[2] for line in said(found)] == [
        "a -> b -> c -> a",
        "b -> c -> a -> b",
        "c -> a -> b -> c",
    ]
    assert [(one.file, one.line) for one in found.problems] == [(f"manifests/{name}.yaml", 7) for name in "abc"]
    assert [one.name for one in found.models] == ["into", "out"]


def test_a_broken_one_is_no_unknown_one() -> None:
    found = parsed({"a.yaml": model("draft", "suspend: perhaps"), "b.yaml": depending("phi", "draft")})
    assert len(found.problems) == 1
    assert [one.name for one in found.models] == ["phi"]
