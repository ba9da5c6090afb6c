"""`diff` between two commits of a real repository. Every call runs under the guard: no network, no write, only git."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.diff.repository import Fleet
from tests.git_server import TEMPLATE
from tests.lfs_server import keep_by_lfs, pointer_to
from tests.machine import tree


@pytest.fixture
def fleet(tmp_path: Path, capitals: Path) -> Fleet:
    one = Fleet(tmp_path / "fleet")
    one.give_model(capitals)
    one.declare("capitals")
    one.commit()
    one.git("tag", "base")
    return one


def steps(view: Any, name: str = "capitals") -> list[str]:
    model = next(one for one in view["models"] if one["name"] == name)
    return [f"{c['action']} {c['reason']} {c['variant']}".strip() for c in model["changes"]]


def test_the_same_commit_is_no_difference(fleet: Fleet) -> None:
    done = fleet.diff("base", "HEAD")
    assert (done.code, done.out.splitlines()[-1]) == (0, "Diff: no model changed; nothing to do.")


def test_a_new_model_is_converted_and_its_cost_is_told(fleet: Fleet) -> None:
    fleet.declare("second", precisions="int8")
    fleet.commit()
    view = fleet.view("base")
    assert steps(view, "second") == [
        "convert ArtifactMissing second-int8",
        "verify ReleaseMissing second-int8",
        "register ReleaseMissing second-int8",
    ]
    assert [model["declared"] for model in view["models"]] == ["added"]
    assert view["cost"]["known"]
    assert view["cost"]["seconds"] is None
    assert 0 < view["disk"]["beforeBytes"] < view["disk"]["afterBytes"] < view["disk"]["peakBytes"]
    assert fleet.diff("base").code == 1
    assert "time unknown: no history" in fleet.diff("base").out


def test_a_field_that_decides_weights_is_named_with_both_values(fleet: Fleet) -> None:
    fleet.declare("capitals", more="  quantization: {blockSize: 64}\n")
    fleet.commit()
    model = fleet.view("base")["models"][0]
    convert = model["changes"][0]
    assert (convert["action"], convert["reason"]) == ("convert", "RecipeChanged")
    assert convert["forcedBy"] == ["spec.quantization.blockSize"]
    assert (convert["before"], convert["after"]) == (
        {"spec.quantization.blockSize": 32},
        {"spec.quantization.blockSize": 64},
    )
    assert [c["action"] for c in model["changes"]] == ["convert", "verify", "register", "retire"]


def test_a_template_never_reconverts(fleet: Fleet) -> None:
    fleet.declare("capitals", template="llama3")
    fleet.commit()
    assert steps(fleet.view("base")) == [
        "verify TemplateChanged capitals-int4",
        "register TemplateChanged capitals-int4",
        "retire Superseded capitals-int4",
    ]


def test_a_template_is_shown_before_and_after_with_its_tokens(fleet: Fleet) -> None:
    fleet.write(
        "manifests/t.jinja", "{%- for m in messages -%}{{- m['role'] + ': ' + m['content'] + '\\n' -}}{%- endfor -%}"
    )
    fleet.write("manifests/t.yaml", TEMPLATE.format(name="plain", file="t.jinja"))
    fleet.declare("capitals", template="{ref: plain}")
    fleet.commit()
    (change,) = fleet.view("base")["templates"]
    assert change["models"] == ["capitals"]
    assert change["after"]["text"].splitlines()[0] == "system: You are brief."
    assert change["exact"]
    assert change["tokensDifference"] == change["after"]["tokens"] - change["before"]["tokens"] != 0
    out = fleet.diff("base").out
    assert "template of capitals: preset chatml -> PromptTemplate plain (example:" in out
    assert "    - <|im_start|>system\n" in out
    assert "    + system: You are brief.\n" in out


def test_a_template_edited_in_its_role_form_only_is_shown_with_its_tokens(fleet: Fleet) -> None:
    roles = "{roles: {system: '{Content}', user: 'U{Content}', prompt: 'U%s{Content}'}}"
    fleet.declare("capitals", template=roles.replace("%s", ""))
    fleet.commit()
    fleet.git("tag", "before")
    fleet.declare("capitals", template=roles.replace("%s", " one two three"))
    fleet.commit()
    (change,) = fleet.view("before")["templates"]
    assert change["exact"]
    assert change["tokensDifference"] >= 3
    assert " one two three" in change["after"]["text"]
    assert f"{change['tokensDifference']:+d})" in fleet.diff("before").out


def test_a_template_that_cannot_be_rendered_says_why(fleet: Fleet) -> None:
    loops = "{% for m in messages %}" + "{% for a in messages %}" * 8 + "{{ m.role }}" + "{% endfor %}" * 9
    fleet.write("manifests/t.jinja", loops)
    fleet.write("manifests/t.yaml", TEMPLATE.format(name="slow", file="t.jinja"))
    fleet.declare("capitals", template="{ref: slow}")
    fleet.commit()
    done = fleet.diff("base")
    assert (done.code, "+ not rendered: it writes more than 100,000 characters" in done.out) == (1, True)


def test_a_number_of_five_thousand_digits_is_a_problem_and_no_crash(fleet: Fleet) -> None:
    fleet.write("manifests/t.jinja", "{{ messages }}{{ " + "9" * 5000 + " }}")
    fleet.write("manifests/t.yaml", TEMPLATE.format(name="big", file="t.jinja"))
    fleet.commit()
    done = fleet.diff("base")
    assert (done.code, "expected numbers of a few digits" in done.out, done.err) == (2, True, "")


def test_a_model_of_the_hub_without_a_lock_is_one_problem(fleet: Fleet) -> None:
    source = "{huggingface: {repo: a/b, revision: " + "1" * 40 + "}}"
    text = (fleet.folder / "manifests/capitals.yaml").read_text().replace("{path: ../model}", source)
    fleet.write("manifests/hub.yaml", text.replace("name: capitals", "name: hub"))
    fleet.commit()
    assert [one["file"] for one in fleet.view("base")["problems"]] == ["manifests/hub.yaml"]


def test_a_removed_model_is_pruned_when_others_stay(fleet: Fleet) -> None:
    fleet.declare("second")
    fleet.commit()
    fleet.git("tag", "two")
    fleet.remove("manifests/second.yaml")
    fleet.commit()
    assert steps(fleet.view("two"), "second") == ["prune Orphaned second-int4"]


def test_removing_everything_is_held_back(fleet: Fleet) -> None:
    fleet.remove("manifests/capitals.yaml")
    fleet.write("manifests/templates.txt", "so that the folder stays")
    fleet.commit()
    model = fleet.view("base")["models"][0]
    assert (model["declared"], model["changes"]) == ("removed", [])
    assert [hold["reason"] for hold in model["held"]] == ["NothingDeclared"]


def test_weights_in_git_that_change_are_converted_again(fleet: Fleet) -> None:
    path = fleet.folder / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    fleet.commit()
    convert = fleet.view("base")["models"][0]["changes"][0]
    assert convert["forcedBy"] == ["spec.source"]
    assert convert["before"]["spec.source"].startswith("model (tree ")
    assert convert["before"] != convert["after"]


def test_what_only_the_manifest_says_is_a_difference_too(fleet: Fleet) -> None:
    fleet.declare("capitals", more="  suspend: true\n")
    fleet.commit()
    done = fleet.diff("base")
    assert done.code == 1
    assert "spec.suspend: False -> True" in done.out


def weights_of(fleet: Fleet) -> bytes:
    return (fleet.folder / "model" / "model.safetensors").read_bytes()


def test_a_comment_is_no_difference(fleet: Fleet) -> None:
    fleet.write("manifests/capitals.yaml", "# words\n" + (fleet.folder / "manifests/capitals.yaml").read_text())
    fleet.commit()
    assert fleet.diff("base").code == 0


def test_a_source_outside_git_costs_nobody_knows_what(fleet: Fleet) -> None:
    fleet.write(".gitignore", "/weights\n")
    fleet.declare("outside", source="../weights/phi")
    fleet.declare("rooted", source="/models/phi")
    fleet.commit()
    done = fleet.diff("base", "--source-root", "/models")
    assert done.code == 1, done.out + done.err
    assert done.out.count("cost unknown here") == 2
    assert "and what is unknown here" in done.out
    refused = fleet.view("base")["problems"]
    assert [(problem["code"], problem["file"]) for problem in refused] == [("PathOutside", "manifests/rooted.yaml")]


def test_an_unknown_source_that_moves_is_a_new_recipe(fleet: Fleet) -> None:
    fleet.declare("outside", source="../weights/one")
    fleet.git("tag", "-f", "base", fleet.commit())
    fleet.declare("outside", source="../weights/two")
    fleet.commit()
    convert = fleet.view("base")["models"][0]["changes"][0]
    assert convert["after"] == {"spec.source": "weights/two (not in this repository)"}


def test_what_git_lfs_keeps_is_priced_by_its_pointers(fleet: Fleet) -> None:
    """Of which only those are in the repository; what its small files say is known."""
    rest = sum(one.stat().st_size for one in (fleet.folder / "model").iterdir()) - len(weights_of(fleet))
    keep_by_lfs(fleet.folder / "model", "model.safetensors")
    fleet.git("tag", "-f", "base", fleet.commit())
    fleet.declare("second", precisions="int8")
    fleet.commit()
    assert steps(fleet.view("base"), "second")[0] == "convert ArtifactMissing second-int8"  # its weights are there
    fleet.write("model/model.safetensors", pointer_to(b"0" * 123_456))
    fleet.commit()
    (first, *later) = fleet.view("base")["models"][0]["changes"]
    assert (first["action"], first["cost"]["downloadBytes"]) == ("fetch", 123_456 + rest)
    done = fleet.diff("base")
    print(done.out, later)
    assert done.code == 1


@pytest.mark.parametrize(
    "pointer", ["version https://git-lfs.github.com/spec/v1\nsize 9\n", pointer_to(b"0").decode() + "ext-0-a b\n"]
)
def test_a_pointer_of_another_form_is_told_by_its_tree(fleet: Fleet, pointer: str) -> None:
    fleet.write("model/model.safetensors", pointer)
    fleet.commit()
    done = fleet.diff("base")
    assert done.code == 1
    assert "cost unknown here" in done.out


@pytest.mark.parametrize("held", [True, False])
def test_an_adapter_that_is_elsewhere_is_not_judged(fleet: Fleet, held: bool) -> None:
    if held:
        fleet.write("adapter/adapter_model.safetensors", "version https://git-lfs.github.com/spec/v1\nsize 9\n")
    fleet.declare("tuned", source="../model, adapter: ../adapter")
    assert fleet.view("base", fleet.commit())["problems"] == []


def test_the_first_manifests_of_a_repository(fleet: Fleet) -> None:
    fleet.git("checkout", "-q", "--orphan", "empty")
    fleet.git("rm", "-rfq", ".")
    fleet.write("README", "nothing yet")
    first = fleet.commit()
    view = fleet.view(first, "base")
    assert (view["problems"], [m["declared"] for m in view["models"]]) == ([], ["added"])
    assert fleet.view("base", first)["problems"][0]["code"] == "PathMissing"


def test_new_problems_are_told_from_those_that_were_there(fleet: Fleet) -> None:
    fleet.declare("old", precisions="int3")
    fleet.git("tag", "-f", "base", fleet.commit())
    fleet.write("manifests/old.yaml", "\n\n" + (fleet.folder / "manifests/old.yaml").read_text())
    fleet.declare("new", precisions="int5")
    fleet.commit()
    done = fleet.diff("base", "-o", "github")
    assert done.code == 2
    assert "::error file=manifests/new.yaml,line=7,title=InvalidValue::" in done.out
    old = next(line for line in done.out.splitlines() if "old.yaml" in line)
    assert old.endswith("(this was there before)")
    assert "line=9" in old
    assert [p["new"] for p in fleet.view("base")["problems"]] == [True, False]


def test_a_manifest_that_breaks_is_not_a_model_that_goes(fleet: Fleet) -> None:
    fleet.declare("capitals", precisions="int5")
    fleet.commit()
    model = fleet.view("base")["models"][0]
    assert (model["declared"], model["changes"]) == ("invalid", [])
    assert [hold["reason"] for hold in model["held"]] == ["ManifestsUnreadable"]


def test_a_template_that_breaks_takes_no_model_away(fleet: Fleet) -> None:
    head = "apiVersion: reconciler.foundry/v1alpha1\nkind: PromptTemplate\nmetadata: {name: brief}\n"
    fleet.write("manifests/brief.yaml", f"{head}spec: {{jinja: brief.jinja}}\n")
    fleet.write("manifests/brief.jinja", "{% for m in messages %}{{ m['content'] }}{% endfor %}")
    fleet.declare("capitals", template="{ref: brief}")
    fleet.git("tag", "-f", "base", fleet.commit())
    fleet.remove("manifests/brief.jinja")
    fleet.commit()
    (model,) = fleet.view("base")["models"]
    assert (model["name"], model["declared"], model["changes"]) == ("capitals", "invalid", [])
    assert "! capitals  (invalid: it cannot be compared)" in fleet.diff("base").out


def test_what_others_pushed_meanwhile_is_not_shown_with_three_dots(fleet: Fleet) -> None:
    fleet.git("checkout", "-q", "-b", "topic")
    fleet.declare("mine")
    fleet.commit()
    fleet.git("checkout", "-q", "main")
    fleet.declare("theirs")
    fleet.commit()
    assert [m["name"] for m in fleet.view("main...topic")["models"]] == ["mine"]
    assert [m["name"] for m in fleet.view("main", "topic")["models"]] == ["mine", "theirs"]


def test_a_shallow_clone_says_what_to_fetch(fleet: Fleet, tmp_path: Path) -> None:
    base = fleet.git("rev-parse", "base")
    fleet.declare("second")
    fleet.commit()
    fleet.git("clone", "-q", "--depth=1", f"file://{fleet.folder}", str(tmp_path / "clone"))
    done = fleet.diff(base, "HEAD", "--repo-dir", str(tmp_path / "clone"))
    assert (done.code, done.out) == (2, "")
    assert "fetch-depth: 0" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--", "--output=/tmp/x", "HEAD"), 64, "expected a commit"),
        (("nowhere",), 2, "there is no commit nowhere"),
        (("main..topic",), 64, "`main...topic` compares with the merge base, `main topic` the two commits"),
        (("main..",), 64, "`main...HEAD`"),
        (("base", "a..b"), 2, "there is no commit a..b"),
        (("base", "HEAD:manifests"), 2, "there is no commit"),
        (("base", "HEAD", "--path", "../other"), 64, "inside the repository"),
        (("base", "HEAD", "--repo-dir", "/"), 64, "no git repository"),
        (("base", "HEAD", "--repo-dir", "/nowhere"), 64, "there is no folder"),
    ],
)
def test_what_cannot_be_compared_is_said(fleet: Fleet, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = fleet.diff(*arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_configuration_of_the_repository_runs_nothing(fleet: Fleet, tmp_path: Path) -> None:
    """Whoever prepared the clone may have set anything in it."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    for name in ("core.fsmonitor", "core.pager", "diff.external", "core.sshCommand", "core.hooksPath"):
        fleet.git("config", name, str(program))
    fleet.git("config", "extensions.partialClone", "origin")
    fleet.git("config", "remote.origin.url", f"ext::{program}")
    fleet.git("config", "remote.origin.uploadpack", str(program))
    fleet.git("config", "protocol.ext.allow", "always")
    fleet.declare("second")
    fleet.git("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "add", "-A")
    fleet.git("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "commit", "-qm", "second")
    lost = fleet.git("rev-parse", "base:manifests/capitals.yaml")
    (tmp_path / "ran").unlink(missing_ok=True)
    assert fleet.diff("base", "HEAD").code == 1
    assert not (tmp_path / "ran").exists()
    (fleet.folder / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    assert fleet.diff("base", "HEAD").code in (0, 1, 2)
    assert not (tmp_path / "ran").exists()


def cloned(fleet: Fleet, wanted: str, *, asked_first: bool) -> Fleet:
    """A partial clone. Newer versions of git are told not to fetch what is asked for and say that it is missing, as
    all do of a clone that does not know that it is partial."""
    fleet.git("config", "uploadpack.allowFilter", "true")
    clone = Fleet.__new__(Fleet)
    clone.folder = fleet.folder.with_name("partial")
    fleet.git("clone", "-q", "--no-checkout", f"--filter={wanted}", f"file://{fleet.folder}", str(clone.folder))
    if not asked_first:
        clone.git("config", "--remove-section", "remote.origin")
    return clone


@pytest.mark.parametrize("asked_first", [True, False])
def test_a_partial_clone_says_that_it_is_one(fleet: Fleet, asked_first: bool) -> None:
    done = cloned(fleet, "blob:none", asked_first=asked_first).diff("base", "HEAD")
    assert done.code == 2
    assert ("this clone is partial, and lacks the object" if asked_first else "this clone lacks the object") in done.err
    assert "`git fetch --refetch --no-filter origin`" in done.err


def test_a_clone_without_large_files_knows_the_manifests(fleet: Fleet) -> None:
    fleet.declare("second")
    fleet.commit()
    done = cloned(fleet, "blob:limit=100k", asked_first=False).diff("base", "HEAD")
    assert done.code == 1
    assert "what is unknown here" in done.out


def test_what_a_partial_clone_is_told_to_do_helps(fleet: Fleet) -> None:
    clone = cloned(fleet, "blob:none", asked_first=True)
    clone.git("fetch", "-q", "--refetch", "--no-filter", "origin")
    assert clone.diff("base", "HEAD").code == 0


def test_variables_that_steer_git_are_not_listened_to(fleet: Fleet, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    done = fleet.diff("base", "HEAD", GIT_DIR="/nowhere", GIT_TRACE=str(trace), GIT_OBJECT_DIRECTORY="/nowhere")
    assert done.code == 0
    assert not trace.exists()


def test_a_further_work_tree_and_a_bare_repository(fleet: Fleet, tmp_path: Path) -> None:
    fleet.declare("second")
    fleet.commit()
    fleet.git("worktree", "add", "-q", str(tmp_path / "tree"))
    fleet.git("clone", "-q", "--bare", str(fleet.folder), str(tmp_path / "bare.git"))
    for where in ("tree", "bare.git", "fleet/manifests"):
        assert fleet.diff("base", "HEAD", "--repo-dir", str(tmp_path / where)).code == 1


def test_nothing_in_the_repository_is_touched(fleet: Fleet) -> None:
    fleet.declare("second")
    fleet.commit()
    before = tree(fleet.folder)
    for output in ("text", "json", "markdown", "github"):
        assert fleet.diff("base", "HEAD", "-o", output).code == 1
    assert tree(fleet.folder) == before


def test_json_says_which_commits(fleet: Fleet) -> None:
    view = json.loads(fleet.diff("base", "main", "-o", "json").out)
    commit = fleet.git("rev-parse", "HEAD")
    assert view["formatVersion"] == 1
    assert view["base"] == {"revision": "base", "commit": commit}
    assert view["head"] == {"revision": "main", "commit": commit}
