"""The git source against real repositories: over file URLs, over https with a password, and hostile ones."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.errors import TemporaryError, UsageError
from reconciler.domain.layout import Layout
from reconciler.manifests import model_rules
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.schema import ModelManifest
from reconciler.sources.git.address import Remote, checked_branch, checked_path, checked_url
from reconciler.sources.git.export import Exports
from reconciler.sources.git.mirror import CommitRefused, Unreachable
from reconciler.sources.git.process import OutOfBounds
from reconciler.sources.git.runner import Credentials, GitFailed, GitRunner, ssh_command
from reconciler.sources.git.source import Followed, follow
from reconciler.sources.git.standing import CommitFacts, commit_facts
from reconciler.sources.manifests import load
from tests import canaries, forked
from tests.git_server import TEMPLATE, Repository, Server, certificate
from tests.machine import TestMachine, tree
from tests.tiny_models import write_qwen2
from tests.trust import FULL, record


@pytest.fixture
def fleet(tmp_path: Path) -> Repository:
    """One model in git, of some kilobytes, and the manifest that names it."""
    repository = Repository(tmp_path / "fleet")
    write_qwen2(repository.folder / "model", layers=1)
    return _with_manifest(repository)


@pytest.fixture
def answering(tmp_path: Path, capitals: Path) -> Repository:
    """The same with a model that can be served."""
    repository = Repository(tmp_path / "fleet")
    shutil.copytree(capitals, repository.folder / "model")
    return _with_manifest(repository)


def _with_manifest(repository: Repository) -> Repository:
    repository.model("one")
    repository.commit("one model")
    return repository


class Machine:
    """Follows one branch as `apply` does: what was accepted is remembered."""

    def __init__(self, root: Path, url: str) -> None:
        self.layout = Layout(str(root))
        self.url = url
        self.accepted = ""
        self.credentials = Credentials()

    def follow(
        self, *, path: str = "manifests", branch: str = "main", accept: bool = True, **options: object
    ) -> Followed:
        wanted = Remote(self.url, branch, path, allow_file=True, **options)
        followed = follow(wanted, self.layout, credentials=self.credentials, accepted=self.accepted, accept=accept)
        if accept:
            self.accepted = followed.commit
        return followed

    @property
    def mirror(self) -> Path:
        return Path(self.layout.at("mirror.git"))

    @property
    def sources(self) -> Path:
        return Path(self.layout.at("sources"))


@pytest.fixture
def machine(tmp_path: Path, fleet: Repository) -> Machine:
    return Machine(tmp_path / "root", str(fleet.folder))


def names(followed: Followed) -> list[str]:
    return [model.name for model in followed.parsed.models]


def codes(followed: Followed) -> list[str]:
    return [problem.code for problem in followed.parsed.problems]


def warned(followed: Followed) -> list[str]:
    return [warning.code for warning in followed.parsed.warnings]


# What is followed


def test_a_branch_declares_what_the_same_folder_declares(fleet: Repository, machine: Machine) -> None:
    fleet.write("templates/plain.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}")
    fleet.write("manifests/templates/plain.yaml", TEMPLATE.format(name="plain", file="../../templates/plain.jinja"))
    fleet.write("manifests/broken.YAML", "apiVersion: reconciler.foundry/v1alpha1\nkind: Modle\n")
    commit = fleet.commit()
    from_git, from_folder = machine.follow().parsed, load(str(fleet.folder / "manifests"))
    assert from_git.revision == f"main@sha1:{commit}"
    assert [(p.code, p.line, p.message) for p in from_git.problems] == [
        (p.code, p.line, p.message) for p in from_folder.problems
    ]
    assert [p.file for p in from_git.problems] == ["manifests/broken.YAML"]

    def apart_from_places(model: object) -> object:
        return replace(model, source_path="", file="")

    assert list(map(apart_from_places, from_git.models)) == list(map(apart_from_places, from_folder.models))
    source = Path(from_git.models[0].source_path)
    original = fleet.folder / "model"
    assert {p.name: p.read_bytes() for p in source.iterdir()} == {p.name: p.read_bytes() for p in original.iterdir()}


def test_a_push_is_followed_and_an_unmoved_branch_is_only_asked_about(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    before = tree(machine.mirror), tree(machine.sources)
    assert names(machine.follow()) == ["one"]
    assert (tree(machine.mirror), tree(machine.sources)) == before
    fleet.model("two")
    commit = fleet.commit()
    followed = machine.follow()
    assert (followed.commit, names(followed)) == (commit, ["one", "two"])


def test_where_a_machine_stands_is_read_from_its_mirror(fleet: Repository, machine: Machine) -> None:
    applied, remote = machine.follow().commit, Remote(machine.url, "main", "manifests", allow_file=True)
    assert commit_facts(remote, machine.layout, applied, applied).behind == 0
    for n in (1, 2):
        fleet.model(f"more-{n}")
        fleet.commit(f"number {n}\n\nand more words")
    found = commit_facts(remote, machine.layout, machine.follow().commit, applied)
    assert (found.subject, found.behind) == ("number 2", 2)
    assert found.time.endswith("Z")
    for commit in ("", "--help", "0" * 40):
        assert commit_facts(remote, machine.layout, commit, commit) == CommitFacts()
    assert commit_facts(remote, Layout(f"{machine.layout.root}-none"), applied, applied) == CommitFacts()


def test_a_plan_fetches_and_accepts_nothing(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    accepted = machine.accepted
    fleet.commit()
    machine.follow(accept=False)
    fleet.git("reset", "-q", "--hard", accepted)
    assert codes(machine.follow()) == []


def test_the_top_of_the_repository_and_a_single_file_can_be_followed(fleet: Repository, machine: Machine) -> None:
    assert names(machine.follow(path=".")) == ["one"]
    assert names(machine.follow(path="manifests/one.yaml")) == ["one"]


def test_hidden_files_are_left_out_as_on_disk(fleet: Repository, machine: Machine) -> None:
    fleet.write("manifests/.github/workflow.yaml", "on: push\n")
    fleet.commit()
    assert codes(machine.follow()) == []


def test_another_branch_of_the_same_repository_shares_the_mirror(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    fleet.git("branch", "next")
    second = Machine(Path(machine.layout.root), machine.url)
    assert second.follow(branch="next").parsed.revision.startswith("next@sha1:")
    fleet.commit()
    assert codes(machine.follow()) == []


def test_a_space_in_the_path_of_a_repository_is_fine(fleet: Repository, tmp_path: Path) -> None:
    fleet.folder.rename(tmp_path / "my fleet")
    assert names(Machine(tmp_path / "root", str(tmp_path / "my fleet")).follow()) == ["one"]


# What the server may not do


def amended(fleet: Repository) -> None:
    fleet.commit("rewritten", "--amend")


def rewound(fleet: Repository) -> None:
    fleet.git("reset", "-q", "--hard", "HEAD~1")


def unrelated(fleet: Repository) -> None:
    fleet.git("checkout", "-q", "--orphan", "other")
    fleet.commit("another history")
    fleet.git("branch", "-M", "other", "main")


@pytest.mark.parametrize("rewrite", [amended, rewound, unrelated])
@pytest.mark.parametrize("mirror", ["shallow", "whole", "lost"])
def test_rewritten_history_is_refused_until_the_operator_allows_it(
    rewrite: Callable[[Repository], None], mirror: str, fleet: Repository, machine: Machine
) -> None:
    if mirror == "whole":
        machine.follow()
    fleet.model("two")
    accepted = fleet.commit()
    machine.follow()
    rewrite(fleet)
    if mirror == "lost":
        shutil.rmtree(machine.mirror)
        with pytest.raises(CommitRefused, match="history was rewritten"):
            machine.follow()
    else:
        followed = machine.follow()
        assert (codes(followed), followed.commit) == (["HistoryRewritten"], accepted)
        assert names(followed) == ["one", "two"]
    followed = machine.follow(allow_rewind=True)
    assert (codes(followed), followed.commit) == ([], fleet.git("rev-parse", "HEAD"))


def test_a_lost_mirror_still_knows_a_descendant(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    shutil.rmtree(machine.mirror)
    for number in range(3):
        fleet.commit(f"change {number}")
    assert codes(machine.follow()) == []


def test_lost_records_do_not_open_the_way_back(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    machine.accepted = ""
    amended(fleet)
    assert codes(machine.follow()) == ["HistoryRewritten"]


def test_a_deleted_branch_is_said_and_the_accepted_commit_stays(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    fleet.git("branch", "-M", "main", "trunk")
    followed = machine.follow()
    assert (codes(followed), names(followed)) == (["BranchMissing"], ["one"])


def test_an_empty_repository_is_an_error_with_a_hint(tmp_path: Path) -> None:
    Repository(tmp_path / "empty")
    with pytest.raises(CommitRefused, match="has no branch main") as refused:
        Machine(tmp_path / "root", str(tmp_path / "empty")).follow()
    assert "empty" in refused.value.hint


def test_a_branch_that_is_not_there_is_refused_with_the_default_one(fleet: Repository, tmp_path: Path) -> None:
    """As `master` is written out of habit."""
    fleet.git("branch", "other")
    with pytest.raises(CommitRefused, match="has no branch master") as refused:
        Machine(tmp_path / "elsewhere", str(fleet.folder)).follow(branch="master")
    assert refused.value.hint == "did you mean main? That is its default branch; or was master deleted?"


def test_a_server_that_is_gone_is_stale_and_comes_back(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    away = fleet.folder.with_name("away")
    fleet.folder.rename(away)
    followed = machine.follow()
    assert (warned(followed), codes(followed), names(followed)) == (["Stale"], [], ["one"])
    away.rename(fleet.folder)
    assert warned(machine.follow()) == []


def test_a_server_that_never_answered_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="cannot be read") as error:
        Machine(tmp_path / "root", str(tmp_path / "nowhere")).follow()
    assert "credentials" in error.value.hint


def test_a_folder_that_a_commit_removed_prunes_nothing(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    shutil.rmtree(fleet.folder / "manifests")
    fleet.commit()
    assert codes(machine.follow()) == ["PathMissing"]


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c 'touch canary'",
        "--upload-pack=touch canary",
        "-u",
        "",
        "ssh://-oProxyCommand=x/repository",
        "ssh://user@-oProxyCommand=x/repository",
        "ssh://-oProxyCommand=x@host/repository",
        "ssh://host/-repository",
        "ssh://host/$(id)",
        "git://host/repository",
        "http://host/repository",
        "ftp://host/repository",
        "https://user:password@host/repository",
        "https://:password@host/repository",
        "https://ghp_password@host/repository",
        "https://github_pat_password@host/repository",
        "https://host/repository?x=y",
        "https://host/repository#x",
        "https://host:port/repository",
        "https:///repository",
        "https://host",
        "https://host/a b",
        "https://host/a\nb",
        "https://ho st/a",
        "fd::7",
        "https::https://host/repository",
        "git@host:group/repository.git",
        "file:///srv/repository",
        "/srv/repository",
    ],
)
def test_an_address_that_git_could_misread_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_url(url)
    assert "password@" not in str(refused.value)
    if url.endswith("/srv/repository"):
        assert "--allow-file" in refused.value.hint
        assert "`repository.allowFile: true`" in refused.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/group/repository.git",
        "https://user@host:8443/~me/repository",
        "ssh://git@host:2222/group/repository.git",
        "https://[::1]:443/repository",
    ],
)
def test_an_ordinary_address_is_passed_on_as_it_is(url: str) -> None:
    assert checked_url(url.replace("[::1]", "host")) == url.replace("[::1]", "host")


BRANCHES = ["-f", "+main", "a..b", "HEAD", "@", "", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "/a", "a/"]
BRANCHES += ["a//b", ".a", "a/.b", "a.lock", "a.", "a@{1}", "refs/heads/main", "a\x00", "a\x1b[2J", "--all", "a\u202eb"]


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch_that_is_no_plain_name_is_refused(branch: str) -> None:
    with pytest.raises(UsageError):
        checked_branch(branch)


@pytest.mark.parametrize("path", ["/etc", "..", "../x", "a/../../x", "", "a\\b"])
def test_a_path_that_is_not_inside_the_repository_is_refused(path: str) -> None:
    with pytest.raises(UsageError):
        checked_path(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--repo", "ext::sh -c x"], "names a program"),
        (["--repo", "https://user:secret@host/r"], "holds a password"),
        (["--repo", "https://host/r", "--branch=-f"], "name of a branch"),
        (["--repo", "/srv/r"], "--allow-file"),
        (["--repo", "https://host/r", "--verify", "head"], "whose signatures"),
        (["--repo", "https://host/r", "--token-file", "nowhere"], "no file nowhere"),
    ],
)
def test_the_command_line_refuses_with_64(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    done = TestMachine(folder=tmp_path).run("plan", *arguments)
    assert done.code == 64
    assert said in done.err
    assert "secret" not in done.err
    assert not (tmp_path / "root").exists()


# Trees


def linked_manifest(fleet: Repository) -> str:
    fleet.place("120000", "manifests/two.yaml", fleet.blob(b"../../../etc/passwd"))
    return "SymlinkRefused"


def linked_folder(fleet: Repository) -> str:
    fleet.place("120000", "manifests/more", fleet.blob(b"../model"))
    return "SymlinkRefused"


def submodule(fleet: Repository) -> str:
    fleet.place("160000", "manifests/other", "1" * 40)
    return "NestedRepository"


def large_manifest(fleet: Repository) -> str:
    fleet.place("100644", "manifests/large.yaml", fleet.blob(b"a" * 300_000))
    return "FileTooLarge"


def inflating_manifest(fleet: Repository) -> str:
    fleet.place("100644", "manifests/zeros.yaml", fleet.blob(bytes(16 << 20)))
    return "FileTooLarge"


def unprintable_name(fleet: Repository) -> str:
    fleet.place("100644", "manifests/a\x1b[2J.yaml", fleet.blob(b""))
    return "FileName"


def ten_billion_paths(fleet: Repository) -> str:
    held = fleet.git(
        "mktree", said=b"".join(b"100644 blob %s\t%d\n" % (fleet.blob(b"").encode(), n) for n in range(10))
    )
    for _ in range(9):
        held = fleet.git("mktree", said=b"".join(f"040000 tree {held}\t{n}\n".encode() for n in range(10)))
    manifests = fleet.git("mktree", said=f"040000 tree {held}\tbomb\n".encode())
    top = fleet.git("mktree", said=f"040000 tree {manifests}\tmanifests\n".encode())
    commit = fleet.git("commit-tree", "-p", "HEAD", "-m", "bomb", top)
    fleet.git("update-ref", "refs/heads/main", commit)
    return "TooManyFiles"


HOSTILE = [
    linked_manifest,
    linked_folder,
    submodule,
    large_manifest,
    inflating_manifest,
    unprintable_name,
    ten_billion_paths,
]


@pytest.mark.parametrize("put", HOSTILE)
def test_what_is_no_plain_small_manifest_is_one_problem(
    put: Callable[[Repository], str], fleet: Repository, machine: Machine
) -> None:
    expected = put(fleet)
    if put is not ten_billion_paths:
        fleet.commit_index()
    started = time.monotonic()
    followed = machine.follow()
    assert codes(followed) == [expected]
    assert time.monotonic() - started < 90  # whoever walks through the worst of them takes days
    assert names(followed) == ([] if put is ten_billion_paths else ["one"])


def test_a_link_to_a_plain_file_beside_the_manifests_is_nobodys_business(fleet: Repository, machine: Machine) -> None:
    fleet.place("120000", "manifests/README.md", fleet.blob(b"../model/config.json"))
    fleet.commit_index()
    assert codes(machine.follow()) == []


@pytest.mark.parametrize(
    ("mode", "name", "content", "code"),
    [
        ("120000", "model/model.safetensors", b"/etc/passwd", "SymlinkRefused"),
        ("120000", "model/extra", b"..", "SymlinkRefused"),
        ("160000", "model/sub", b"", "NestedRepository"),
        ("100644", "model/CONFIG.json", b"{}", "FileName"),
        ("100644", "model/a\\b", b"", "FileName"),
        ("100644", "model/nul.txt", b"", "FileName"),
        ("100644", "model/c:x", b"", "FileName"),
    ],
)
def test_a_model_folder_with_more_than_plain_files_is_not_exported(
    mode: str, name: str, content: bytes, code: str, fleet: Repository, machine: Machine
) -> None:
    fleet.place(mode, name, "1" * 40 if mode == "160000" else fleet.blob(content))
    fleet.commit_index()
    followed = machine.follow()
    assert codes(followed) == [code]
    assert (followed.parsed.problems[0].file, followed.parsed.problems[0].field) == (
        "manifests/one.yaml",
        "spec.source.path",
    )
    assert [path.name for path in machine.sources.iterdir() if len(path.name) == 40] == []


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("../../model", "PathOutside"),
        ("/etc", "PathOutside"),
        ("../nowhere", "PathMissing"),
        ("../model/config.json", "PathKind"),
        ("../linked", "SymlinkRefused"),
        ("../linked/deeper", "SymlinkRefused"),
        ("../sub/deeper", "NestedRepository"),
    ],
)
def test_a_source_outside_the_repository_or_behind_a_link_is_refused(
    source: str, code: str, fleet: Repository, machine: Machine
) -> None:
    fleet.model("one", source)
    fleet.git("add", "-A")
    fleet.place("120000", "linked", fleet.blob(b"/etc"))
    fleet.place("160000", "sub", "1" * 40)
    fleet.commit_index()
    assert codes(machine.follow()) == [code]


def test_a_remembered_parse_does_not_hide_a_link_that_came_later(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    fleet.place("120000", "model/more", fleet.blob(b"/etc"))
    fleet.commit_index()
    assert codes(machine.follow()) == ["SymlinkRefused"]


def test_a_changed_export_is_made_anew_and_an_old_one_is_freed(fleet: Repository, machine: Machine) -> None:
    first = Path(machine.follow().parsed.models[0].source_path)
    (first / "foreign.txt").write_text("x")
    (first / "config.json").unlink()
    assert Path(machine.follow().parsed.models[0].source_path) == first
    assert sorted(p.name for p in first.iterdir()) == sorted(p.name for p in (fleet.folder / "model").iterdir())
    fleet.write("model/README.md", "changed")
    fleet.commit()
    second = Path(machine.follow().parsed.models[0].source_path)
    assert [path.name for path in machine.sources.iterdir() if len(path.name) == 40] == [second.name]
    assert not first.exists()


# Programs that are never run


def test_nothing_that_a_repository_configures_is_run(fleet: Repository, machine: Machine, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {canary}\nexit 1\n")
    program.chmod(0o755)
    fleet.write(".gitattributes", "* filter=x diff=x merge=x\n*.yaml filter=lfs\n")
    fleet.write(".gitmodules", '[submodule "x"]\n\tpath = x\n\turl = ext::touch canary\n')
    fleet.write(".lfsconfig", "[lfs]\n\turl = https://127.0.0.1:1\n")
    fleet.commit()
    settings = ("core.fsmonitor", "core.sshCommand", "core.pager", "filter.x.smudge", "uploadpack.packObjectsHook")
    for setting in (*settings, "credential.helper", "core.alternateRefsCommand", "gpg.program"):
        fleet.git("config", setting, str(program))
    hooks = fleet.folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-update", "reference-transaction", "pre-receive", "post-merge", "update"):
        shutil.copy(program, hooks / name)
    assert names(machine.follow()) == ["one"]
    assert not canary.exists()


def test_the_environment_of_the_operator_does_not_rule_git(
    fleet: Repository, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary, trace = tmp_path / "canary", tmp_path / "trace"
    ruling = {
        "GIT_DIR": str(tmp_path / "elsewhere"),
        "GIT_WORK_TREE": str(tmp_path),
        "GIT_OBJECT_DIRECTORY": str(tmp_path),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_NAMESPACE": "x",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": f"touch {canary}",
        "GIT_TRACE": str(trace),
        "GIT_CONFIG_GLOBAL": str(tmp_path / "config"),
        "GIT_ASKPASS": f"touch {canary}",
    }
    (tmp_path / "config").write_text(f'[url "ext::touch {canary} "]\n\tinsteadOf = file://\n')
    for name, held in ruling.items():
        monkeypatch.setenv(name, held)
    assert names(machine.follow()) == ["one"]
    assert not canary.exists()
    assert not trace.exists()
    assert os.environ["GIT_NAMESPACE"] == "x"


# Healing


def test_what_a_killed_git_left_is_swept(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    ref = next((machine.mirror / "refs" / "reconciler").glob("*/fetched"))
    left = ["HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock", "objects/pack/tmp_pack_abc"]
    paths = [*(machine.mirror / name for name in left), ref.with_name("fetched.lock")]
    for path in paths:
        path.write_text("")
    (machine.sources / "staging").mkdir(exist_ok=True)
    (machine.sources / "staging" / "half").mkdir()
    fleet.commit()
    assert (codes(followed := machine.follow()), warned(followed)) == ([], [])
    assert [path for path in paths if path.exists()] == []
    assert list((machine.sources / "staging").iterdir()) == []


def torn(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


def rotten(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[20 : len(data) - 20] = bytes(len(data) - 40)
    path.write_bytes(data)


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [torn, rotten, gone])
@pytest.mark.parametrize("what", ["*.pack", "*.idx"])
@pytest.mark.parametrize("moved", [False, True])
def test_a_broken_mirror_is_cloned_anew(
    harm: Callable[[Path], None], what: str, moved: bool, fleet: Repository, machine: Machine
) -> None:
    machine.follow()
    for pack in (machine.mirror / "objects" / "pack").glob(what):
        harm(pack)
    shutil.rmtree(next(p for p in machine.sources.iterdir() if len(p.name) == 40))
    if moved:
        fleet.commit()
    followed = machine.follow()
    assert (names(followed), codes(followed), warned(followed)) == (["one"], [], [])
    assert subprocess.run(["git", "-C", machine.mirror, "fsck"], capture_output=True, check=False).returncode == 0


def lose(machine: Machine, name: str) -> None:
    """One object of the mirror."""
    objects = machine.mirror / "objects"
    for pack in (objects / "pack").glob("*.pack"):
        data = pack.read_bytes()
        for path in (objects / "pack").glob(f"{pack.stem}.*"):  # else git unpacks nothing: it has all of it
            path.unlink()
        subprocess.run(["git", "-C", machine.mirror, "unpack-objects", "-q"], input=data, check=True, timeout=60)
    (objects / name[:2] / name[2:]).unlink()


def test_a_commit_that_is_lost_between_two_is_cloned_anew(fleet: Repository, machine: Machine) -> None:
    """Whether the newest descends from the accepted one cannot be decided then."""
    machine.follow()
    for number in (2, 3):
        fleet.commit(f"number {number}")
    machine.follow(accept=False)
    lose(machine, fleet.git("rev-parse", "HEAD~1"))
    followed = machine.follow()
    assert (followed.commit, codes(followed), warned(followed)) == (fleet.git("rev-parse", "HEAD"), [], [])


@pytest.mark.parametrize("lost", ["HEAD:model", "HEAD:templates/plain.jinja"])
def test_an_object_that_is_lost_outside_of_the_manifests_is_cloned_anew(
    lost: str, fleet: Repository, machine: Machine
) -> None:
    fleet.write("templates/plain.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}")
    fleet.write("manifests/plain.yaml", TEMPLATE.format(name="plain", file="../templates/plain.jinja"))
    fleet.commit()
    source = Path(machine.follow().parsed.models[0].source_path)
    lose(machine, fleet.git("rev-parse", lost))
    shutil.rmtree(source)
    followed = machine.follow()
    assert (names(followed), codes(followed), warned(followed)) == (["one"], [], [])
    assert source.is_dir()


def test_a_read_in_which_we_fail_frees_nothing(
    fleet: Repository, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what the last clean read used; a commit in which we fail is accepted all the same, and nothing adds up."""
    source = Path(machine.follow().parsed.models[0].source_path)
    usual = model_rules.gates_of

    def gates_of(declaration: Declaration[ModelManifest], *more: Any) -> object:
        return usual(declaration, *more) if declaration.text("metadata", "name") == "two" else {}["of no thought"]

    with monkeypatch.context() as patch:
        patch.setattr(model_rules, "gates_of", gates_of)
        for number in range(2):
            fleet.write("model/added.json", f"[{number}]")
            fleet.model("two")
            commit = fleet.commit()
            failed = machine.follow()
            assert (codes(failed), names(failed)) == (["Bug"], ["two"])
            assert commit in {ref.read_text().strip() for ref in machine.mirror.glob("refs/reconciler/*/accepted")}
            used = {source, Path(failed.parsed.models[0].source_path)}
            assert exported(machine) == used
    (machine.sources / "last-used").unlink()
    Exports(str(machine.sources)).forget_others(failed=True)
    assert exported(machine) == used
    assert (codes(clean := machine.follow()), exported(machine)) == ([], {Path(clean.parsed.models[0].source_path)})


def exported(machine: Machine) -> set[Path]:
    return {one for one in machine.sources.iterdir() if len(one.name) == 40}


def test_many_fetches_do_not_pile_up_packs(fleet: Repository, machine: Machine) -> None:
    machine.follow()
    packs = machine.mirror / "objects" / "pack"
    one = next(packs.glob("*.pack"))
    for number in range(60):
        for ending in (".pack", ".idx"):
            shutil.copy(one.with_suffix(ending), packs / f"pack-{number:040x}{ending}")
    machine.follow()
    assert len(list(packs.glob("*.pack"))) < 5
    fleet.commit()
    assert codes(machine.follow()) == []


# Bounds of a command


def test_a_server_that_never_answers_costs_no_more_than_its_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = GitRunner(str(tmp_path / "mirror.git"))
        command.run("init", "-q", "--bare")
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/repository"
        started = time.monotonic()
        with pytest.raises(TemporaryError, match="took more than"):
            command.run("ls-remote", "--", url, seconds=1.0)
        assert time.monotonic() - started < 90


def test_output_and_disk_of_a_command_are_bounded(fleet: Repository, tmp_path: Path) -> None:
    command = GitRunner(str(tmp_path / "mirror.git"), protocols="file")
    command.run("init", "-q", "--bare")
    url = checked_url(str(fleet.folder), allow_file=True)
    with pytest.raises(OutOfBounds, match="bytes of output"):
        command.run("ls-remote", "--", url, limit=10)
    fleet.git("config", "core.compression", "0")
    fleet.write("noise", os.urandom(24 << 20))
    fleet.commit()
    folder = str(tmp_path / "mirror.git" / "objects" / "pack")
    with pytest.raises(OutOfBounds, match="bytes came"):
        command.run("fetch", "--", url, "refs/heads/main:refs/heads/x", growing=(folder, 4 << 20))
    assert command.code("rev-parse", "--verify", "refs/heads/x") != 0


def test_file_urls_reach_git_only_when_allowed(fleet: Repository, tmp_path: Path) -> None:
    command = GitRunner(str(tmp_path / "mirror.git"))
    command.run("init", "-q", "--bare")
    with pytest.raises(GitFailed, match="not allowed"):
        command.run("ls-remote", "--", f"file://{fleet.folder}")


# Signatures


@pytest.fixture
def signer(fleet: Repository, tmp_path: Path) -> tuple[Path, Path]:
    """(private key, allowed signers file), and the fleet's settings to sign with it."""
    key, signers = tmp_path / "key", tmp_path / "signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=30)
    signers.write_text(f"test@localhost {key.with_suffix('.pub').read_text()}")
    for name, held in {"gpg.format": "ssh", "user.signingkey": f"{key}.pub"}.items():
        fleet.git("config", name, held)
    return key, signers


@pytest.mark.parametrize(
    ("verify", "signed", "refused"),
    [
        ("none", (False, False), False),
        ("head", (True, True), False),
        ("head", (False, True), False),
        ("head", (True, False), True),
        ("all", (True, True), False),
        ("all", (False, True), True),
        ("all", (True, False), True),
    ],
)
def test_commits_are_followed_as_their_signatures_allow(
    verify: str, signed: tuple[bool, ...], refused: bool, fleet: Repository, machine: Machine, signer: tuple[Path, Path]
) -> None:
    machine.credentials = Credentials(allowed_signers=str(signer[1]))
    first = fleet.commit("first", "-S")
    assert machine.follow(verify=verify).commit == first
    for one in signed:
        fleet.commit("next", *(["-S"] if one else []))
    followed = machine.follow(verify=verify)
    assert codes(followed) == (["SignatureRefused"] if refused else [])
    assert (followed.commit == first) is refused


def test_a_signature_by_nobody_who_is_allowed_is_none(
    fleet: Repository, machine: Machine, signer: tuple[Path, Path], tmp_path: Path
) -> None:
    fleet.write("allowed_signers", signer[1].read_text())
    fleet.write(".gitconfig", f"[gpg.ssh]\n\tallowedSignersFile = {signer[1]}\n")
    fleet.commit("signed", "-S")
    empty = tmp_path / "nobody"
    empty.write_text("")
    for credentials in (Credentials(), Credentials(allowed_signers=str(empty))):
        machine.credentials = credentials
        with pytest.raises(CommitRefused, match="signature"):
            machine.follow(verify="head")


def test_a_key_that_was_taken_off_the_list_stops_even_the_accepted_commit(
    fleet: Repository, machine: Machine, signer: tuple[Path, Path]
) -> None:
    machine.credentials = Credentials(allowed_signers=str(signer[1]))
    fleet.commit("signed", "-S")
    machine.follow(verify="head")
    signer[1].write_text("")
    with pytest.raises(CommitRefused, match="signature"):
        machine.follow(verify="head")


@pytest.mark.skipif(shutil.which("gpg") is None, reason="no gpg here")
def test_gpg_signatures_count_when_their_keyring_is_named(
    fleet: Repository, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Path("/tmp") / f"gnupg-{os.getpid()}"  # a socket in it may have a path of 107 bytes at most
    keyring.mkdir(mode=0o700)
    try:
        make = [
            "gpg",
            "--homedir",
            keyring,
            "--batch",
            "--passphrase",
            "",
            "--quick-gen-key",
            "test@localhost",
            "ed25519",
        ]
        subprocess.run(make, check=True, capture_output=True, timeout=120)
        monkeypatch.setenv("GNUPGHOME", str(keyring))
        fleet.git("config", "user.signingkey", "test@localhost")
        fleet.commit("signed", "-S")
        machine.credentials = Credentials(gnupg=str(keyring))
        assert codes(machine.follow(verify="head")) == []
        machine.credentials = Credentials()
        with pytest.raises(CommitRefused, match="signature"):
            machine.follow(verify="head")
    finally:
        subprocess.run(["gpgconf", "--homedir", keyring, "--kill", "all"], check=False, timeout=30)
        shutil.rmtree(keyring, ignore_errors=True)


# Servers


TOKEN = r"5f3a\n9c%s$(id)" + canaries.MARK


@pytest.fixture
def server(fleet: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    held = certificate(tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(held))
    return Server(tmp_path, held, "x-access-token", TOKEN)


def test_https_with_a_token_follows_and_the_token_is_nowhere_else(
    fleet: Repository, server: Server, tmp_path: Path
) -> None:
    machine = Machine(tmp_path / "root", f"{server.url}/fleet/.git")
    machine.credentials = Credentials(token=TOKEN)
    with server.running():
        assert names(machine.follow()) == ["one"]
        fleet.model("two")
        fleet.commit()
        assert names(machine.follow()) == ["one", "two"]
        asked = len(server.requests)
        machine.follow()
        assert not any("service=git-upload-pack" not in one and "git-upload-pack" not in one for one in server.requests)
        assert len(server.requests) - asked <= 3
    assert any("git" in line for line in server.seen)
    assert not [line for line in server.seen if TOKEN in line]
    held = [
        path for path in Path(machine.layout.root).rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]
    assert held == []
    assert warned(machine.follow()) == ["Stale"]


@pytest.mark.parametrize("token", ["", "wrong"])
def test_https_without_the_right_token_is_an_error(token: str, server: Server, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "root", f"{server.url}/fleet/.git")
    machine.credentials = Credentials(token=token)
    with server.running(), pytest.raises(Unreachable) as error:
        machine.follow()
    assert "wrong" not in str(error.value)


def test_redirects_are_not_followed(server: Server, tmp_path: Path) -> None:
    elsewhere = Server(tmp_path, tmp_path / "certificate.pem", "x-access-token", TOKEN)
    server.redirect = elsewhere.url
    machine = Machine(tmp_path / "root", f"{server.url}/fleet/.git")
    machine.credentials = Credentials(token=TOKEN)
    with server.running(), elsewhere.running(), pytest.raises(Unreachable):
        machine.follow()
    assert elsewhere.requests == []


def test_an_unknown_certificate_is_refused(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIT_SSL_CAINFO")
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
    machine = Machine(tmp_path / "root", f"{server.url}/fleet/.git")
    machine.credentials = Credentials(token=TOKEN)
    with server.running(), pytest.raises(Unreachable, match="certificate"):
        machine.follow()
    assert server.requests == []


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ssh is a shell script")
def test_ssh_is_asked_strictly_and_only_for_git(
    fleet: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program called `ssh` in place of the real one: it writes down how it was called, and serves the repository."""
    programs, called, real = tmp_path / "bin", tmp_path / "called", shutil.which("ssh")
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {called}\nfor last; do :; done\neval "$last"\n')
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    machine = Machine(tmp_path / "root", f"ssh://git@host:2222{fleet.folder}/.git")
    machine.credentials = Credentials(ssh_key="/my keys/it's", known_hosts='/"my" hosts/100%')
    assert names(machine.follow()) == ["one"]
    arguments = called.read_text().splitlines()
    for expected in ("none", "BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"):
        assert expected in arguments
    assert arguments[-1].startswith("git-upload-pack ")
    understood = subprocess.run([real, "-G", *arguments[:-1]], capture_output=True, text=True, check=True).stdout
    for expected in ("identityfile /my keys/it's", 'userknownhostsfile /"my" hosts/100%'):
        assert expected in understood.splitlines()


def test_credentials_are_never_shown() -> None:
    assert TOKEN not in repr(Credentials(token=TOKEN))
    assert TOKEN not in ssh_command(Credentials(token=TOKEN))


# The command


def test_two_plans_at_once_wait_for_each_other(answering: Repository, tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    arguments = ("plan", "--repo", str(answering.folder), "--allow-file", "-o", "json")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: machine.run(*arguments), range(2)))
    assert [one.code for one in done] == [0, 0]
    assert done[0].out == done[1].out
    assert done[0].json()["revision"] == f"main@sha1:{answering.git('rev-parse', 'HEAD')}"


def test_a_look_before_the_first_apply_leaves_the_root_to_it(fleet: Repository, tmp_path: Path) -> None:
    """And `explain` and `bom` read the followed branch as `plan` does."""
    machine = TestMachine(folder=tmp_path)
    follow = ("--repo", str(fleet.folder), "--allow-file")
    for verb in ("plan",), ("explain", "one"), ("bom", "one"):
        assert machine.run(*verb, *follow).code == 0
    assert (machine.root / "sources").is_dir()
    done = machine.run("apply", *follow, "--conversion-memory", "300MiB")  # which holds everything back
    assert done.code == 3, done.err


@pytest.mark.parametrize("names", [("lock", "main.c"), ("a" * 40,), ()])
def test_a_folder_of_that_name_with_foreign_files_makes_no_root(names: tuple[str, ...], tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.declare()
    (machine.root / "sources").mkdir(parents=True)
    for name in names:
        (machine.root / "sources" / name).touch()
    done = machine.run("apply")
    assert done.code == 64
    assert "is no root of reconciler" in done.err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_look_that_was_killed_anywhere_is_finished_by_the_next(answering: Repository, tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    arguments = ("plan", "--repo", str(answering.folder), "--allow-file", "-o", "json")
    whole = machine.run(*arguments)
    killed = 0
    for step in range(1, 1000, 3 if FULL else 9):
        shutil.rmtree(machine.root)
        done = machine.run(*arguments, RECONCILER_CRASH_AT=str(step))
        if done.code == 0:
            break
        assert done.code == -9, done.err
        killed += 1
        assert (machine.run(*arguments).out, machine.run(*arguments).err) == (whole.out, "")
    assert killed > (10 if FULL else 3)


@pytest.mark.slow
def test_apply_follows_a_branch_from_first_commit_to_force_push(answering: Repository, tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    arguments = ("apply", "--repo", str(answering.folder), "--allow-file", "-o", "json")
    first = answering.git("rev-parse", "HEAD")
    with forked.with_olive():
        done = machine.run(*arguments)
    assert (done.code, done.json()["revision"]) == (0, f"main@sha1:{first}")
    assert "one-int4:1" in machine.index()
    records = json.loads((tmp_path / "root" / "records" / "machine.json").read_text())["body"]
    assert [one["commit"] for one in records["accepted"]] == [first]
    machine.run(*arguments)  # what was hashed in the tick in which it was written is hashed once more
    before = tree(tmp_path / "root")
    assert machine.run(*arguments).json()["outcomes"] == []
    changed = {name for name, held in tree(tmp_path / "root").items() if before.get(name) != held}
    assert changed <= {"lock.holder", "sources/lock.holder"}
    amended(answering)
    done = machine.run(*arguments)
    assert (done.code, done.json()["problems"][0]["code"]) == (3, "HistoryRewritten")
    assert "one-int4:1" in machine.index()
    assert machine.run(*arguments, "--allow-rewind").code == 0
    answering.folder.rename(tmp_path / "away")
    (tmp_path / "fleet").mkdir()
    done = machine.run(*arguments)
    assert done.code == 0
    assert "stale" in done.err
    record("rollback", "amended, rewound and unrelated history refused", "9 cases in git, and `apply` as a user has it")
