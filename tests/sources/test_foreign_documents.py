"""Other programs' YAML beside manifests is left out and named once; what might be one of ours stays a problem."""

from pathlib import Path

import pytest

from reconciler.manifests.parsed import Parsed
from reconciler.sources.git.local import open_repository
from reconciler.sources.git.manifests_in_commit import read_commit
from reconciler.sources.git.objects import Tree
from reconciler.sources.manifests import load
from tests.git_server import Repository

MODEL = (
    "apiVersion: reconciler.foundry/v1alpha1\nkind: Model\nmetadata: {name: good}\n"
    "spec:\n  source: {path: ../model}\n  precisions: [int4]\n"
)
BAD = MODEL.replace("good", "bad")
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: &x 1, b: *x}\n"
KUSTOMIZATION = "resources: [good.yaml]\n"
VALUES = "replicas: 3\n"


class Both(Repository):
    """What a folder declares, and what a commit of it declares: the same."""

    def parsed(self) -> tuple[Parsed, Parsed]:
        self.commit()
        repository = open_repository(str(self.folder))
        with repository.objects() as objects:
            committed = read_commit(Tree(objects, repository.commit("HEAD")), "manifests")
        return load(str(self.folder / "manifests")), committed


@pytest.fixture
def repository(tmp_path: Path) -> Both:
    one = Both(tmp_path / "fleet")
    one.write("model/config.json", "{}")
    one.write("manifests/good.yaml", MODEL)
    return one


def said(parsed: Parsed, *, warnings: bool = False) -> list[tuple[str, str]]:
    return [(one.code, Path(one.file).name) for one in (parsed.warnings if warnings else parsed.problems)]


def test_documents_of_other_programs(repository: Both) -> None:
    repository.write("manifests/a.yaml", CONFIG_MAP)
    repository.write("manifests/b.yaml", "apiVersion: kyverno.io/v1\nkind: Policy\nmetadata: {name: theirs}\n")
    repository.write("manifests/base/kustomization.yaml", KUSTOMIZATION)
    repository.write("manifests/Chart.yaml", f"apiVersion: v2\nname: chart\n---\n{MODEL.replace('good', 'beside')}")
    for parsed in repository.parsed():
        assert said(parsed) == []
        assert [one.name for one in parsed.models] == ["beside", "good"]
        assert parsed.policies == ()
        [warning] = [one for one in parsed.warnings if one.code == "DocumentsLeftOut"]
        assert warning.message.startswith("4 documents of other programs are left out: ")
        assert "a.yaml:1 (v1 ConfigMap)" in warning.message
        assert warning.message.endswith(" and 1 more")


@pytest.mark.parametrize(
    "text",
    [
        BAD.replace("reconciler.foundry", "reconciler.foundy"),
        BAD.replace("reconciler.foundry/v1alpha1", "v1alpha1"),
        BAD.replace("reconciler.foundry", "kubeai.org"),
        BAD.replace("reconciler.foundry/v1alpha1", "reconciler.foundry/v2"),
        BAD.replace("kind: Model", "kind: Deployment"),
        BAD.replace("apiVersion", "apiversion"),
        "apiVersion: v1\n" + BAD,
        "apiVersion: v1\nkind: Policy\n",
        "kind: Modell\n",
        VALUES,
        CONFIG_MAP + "  - [broken",
    ],
    ids=range(11),
)
def test_what_might_be_ours_stays_a_problem(repository: Both, text: str) -> None:
    repository.write("manifests/bad.yaml", text)
    for parsed in repository.parsed():
        assert {file for _, file in said(parsed)} == {"bad.yaml"}
        assert [one.name for one in parsed.models] == ["good"]


def test_files_that_are_ignored(repository: Both) -> None:
    repository.write("manifests/values.yaml", VALUES)
    repository.write("manifests/deep/values.YAML", VALUES)
    repository.write("manifests/charts/broken.yaml", "a: [")
    repository.write("manifests/charts/kept.yaml", "a: [")
    repository.write("manifests/.reconcilerignore", "# not ours\nvalues.yaml\n/charts/\n!charts/kept.yaml\n")
    for parsed in repository.parsed():
        assert said(parsed) == []
        assert [one.name for one in parsed.models] == ["good"]


@pytest.mark.parametrize("text", [b"\xff\xfe", b"\\\n", b"a\n" * 40_000])
def test_a_list_that_is_wrong_ignores_nothing(repository: Both, text: bytes) -> None:
    repository.write("manifests/values.yaml", VALUES)
    (repository.folder / "manifests" / ".reconcilerignore").write_bytes(text)
    for parsed in repository.parsed():
        assert {file for _, file in said(parsed)} == {".reconcilerignore", "values.yaml"}


def test_the_names_of_ignored_models_are_free(repository: Both) -> None:
    repository.write("manifests/old.yaml", MODEL)
    repository.write("manifests/.reconcilerignore", "old.yaml\n")
    assert [said(parsed) for parsed in repository.parsed()] == [[], []]
