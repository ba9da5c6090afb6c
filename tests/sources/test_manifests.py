"""A real folder of manifests: what is read, what is refused unread, and what is remembered."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from reconciler.domain.errors import UsageError
from reconciler.manifests.manifest_text import MANIFEST_BYTES
from reconciler.manifests.parsed import Parsed
from reconciler.sources.manifests import ParseCache, checkout_of, load

TEXT = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {{name: {name}}}
spec:
  source: {{path: {path}}}
  precisions: [int4]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkout with one model and a folder for manifests."""
    top = tmp_path / "repo"
    for folder in (".git", "manifests/templates", "models/phi"):
        (top / folder).mkdir(parents=True)
    return top


@pytest.fixture
def manifests(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repository)
    return repository / "manifests"


def write(path: Path, name: str = "phi", source: str = "../models/phi") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT.format(name=name, path=source))
    return path


def said(parsed: Parsed) -> list[tuple[str, str]]:
    return [(problem.file, problem.code) for problem in parsed.problems]


def test_every_yaml_file_below_the_folder_is_read(manifests: Path) -> None:
    for path in ("a.yaml", "b.yml", "team/deep/c.YAML"):
        write(manifests / path, Path(path).stem, "../" * path.count("/") + "../models/phi")
    for path in (".hidden/d.yaml", ".e.yaml", "README.md", "f.yaml.orig"):
        write(manifests / path, "x")
    parsed = load("manifests")
    assert [(model.name, model.file) for model in parsed.models] == [
        ("a", "manifests/a.yaml"),
        ("b", "manifests/b.yml"),
        ("c", "manifests/team/deep/c.YAML"),
    ]
    assert parsed.problems == ()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("manifests", "manifests/a.yaml"),
        ("manifests/", "manifests/a.yaml"),
        ("./manifests/../manifests", "manifests/a.yaml"),
        ("manifests/a.yaml", "manifests/a.yaml"),
    ],
)
def test_files_are_named_as_the_user_names_them(manifests: Path, path: str, shown: str) -> None:
    write(manifests / "a.yaml", name="BAD")
    assert [problem.file for problem in load(path).problems] == [shown]


def test_inside_the_folder_its_name_is_left_out(manifests: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(manifests / "a.yaml", name="BAD")
    monkeypatch.chdir(manifests)
    assert [problem.file for problem in load(".").problems] == ["a.yaml"]


def test_a_folder_that_is_not_there_is_wrong_usage(manifests: Path) -> None:
    with pytest.raises(UsageError, match="no folder nowhere"):
        load("nowhere")


def test_an_empty_folder_declares_nothing(manifests: Path) -> None:
    assert (load("manifests").models, load("manifests").problems) == ((), ())


def test_a_symbolic_link_is_no_manifest(manifests: Path) -> None:
    secret = manifests.parent.parent / "secret"
    secret.write_text("password: hunter2\n")
    (manifests / "a.yaml").symlink_to(secret)
    (manifests / "b.yaml").symlink_to("nowhere")
    (manifests / "etc").symlink_to("/etc")
    (manifests / "note.txt").symlink_to(secret)
    parsed = load("manifests")
    assert said(parsed) == [(f"manifests/{name}", "SymlinkRefused") for name in ("a.yaml", "b.yaml", "etc")]
    assert "hunter2" not in str(parsed)


def test_a_symbolic_link_given_by_name_is_no_manifest_either(manifests: Path) -> None:
    (manifests / "a.yaml").symlink_to(write(manifests.parent / "b.yaml"))
    assert said(load("manifests/a.yaml")) == [("manifests/a.yaml", "SymlinkRefused")]


def test_the_folder_itself_may_be_reached_through_a_link(manifests: Path) -> None:
    write(manifests / "a.yaml")
    Path("link").symlink_to("manifests")
    assert [model.file for model in load("link").models] == ["link/a.yaml"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_what_is_not_a_plain_file_is_never_opened(manifests: Path) -> None:
    os.mkfifo(manifests / "fifo.yaml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("manifests/socket.yaml")
        (manifests / "folder.yaml").mkdir()
        assert said(load("manifests")) == [("manifests/fifo.yaml", "NotAFile"), ("manifests/socket.yaml", "NotAFile")]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_never_opened(manifests: Path) -> None:
    try:
        os.mknod(manifests / "zero.yaml", 0o020666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this container may not make devices")
    assert said(load("manifests")) == [("manifests/zero.yaml", "NotAFile")]


def test_a_hard_link_is_no_manifest(manifests: Path) -> None:
    (manifests / "a.yaml").hardlink_to(write(manifests.parent / "host.yaml"))
    assert said(load("manifests")) == [("manifests/a.yaml", "HardLinkRefused")]


def test_a_file_that_is_too_large_is_refused_unread(manifests: Path) -> None:
    with open(manifests / "sparse.yaml", "wb") as file:
        file.truncate(1 << 40)
    (manifests / "just-too-large.yaml").write_bytes(b"#" * (MANIFEST_BYTES + 1))
    (manifests / "just-right.yaml").write_bytes(b"#" * MANIFEST_BYTES)
    result = load("manifests")
    assert said(result) == [
        ("manifests/just-too-large.yaml", "FileTooLarge"),
        ("manifests/sparse.yaml", "FileTooLarge"),
    ]
    # The real size: whoever reads first and counts then knows no more than the limit.
    assert [problem.message.rpartition("got ")[2] for problem in result.problems] == [
        "262,145 bytes",
        f"{1 << 40:,} bytes",
    ]


def test_another_repository_inside_is_not_entered(manifests: Path) -> None:
    write(manifests / "module" / "a.yaml")
    (manifests / "module" / ".git").write_text("gitdir: ../../.git/modules/module\n")
    parsed = load("manifests")
    assert (said(parsed), parsed.models) == ([("manifests/module", "NestedRepository")], ())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse to make such names")
def test_a_file_name_that_cannot_be_shown_is_refused(manifests: Path) -> None:
    for name in (b"a\xff.yaml", b"b\n::stop-commands::.yaml", "c\u202e.yaml".encode()):
        Path(os.fsdecode(os.fsencode(manifests) + b"/" + name)).write_bytes(b"")
    parsed = load("manifests")
    assert said(parsed) == [
        (f"manifests/{name}", "FileName") for name in ("a\\udcff.yaml", "b\\n::stop-commands::.yaml", "c\\u202e.yaml")
    ]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_problem_and_no_crash(manifests: Path) -> None:
    write(manifests / "a.yaml").chmod(0)
    assert said(load("manifests")) == [("manifests/a.yaml", "Unreadable")]


def test_a_source_that_a_link_leads_out_of_the_checkout_is_refused(manifests: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (manifests.parent / "models" / "out").symlink_to(outside)
    write(manifests / "a.yaml", source="../models/out")
    assert said(load("manifests")) == [("manifests/a.yaml", "PathOutside")]
    assert [model.source_path for model in load("manifests", allowed_roots=(str(outside),)).models] == [str(outside)]


def test_a_template_is_a_plain_small_file_inside_the_checkout(manifests: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jinja"
    secret.write_text("{{ messages }} hunter2")
    (manifests / "templates" / "link.jinja").symlink_to(secret)
    (manifests / "templates" / "hard.jinja").hardlink_to(secret)
    os.mkfifo(manifests / "templates" / "fifo.jinja")
    for name in ("link", "hard", "fifo"):
        text = TEXT.format(name=name, path="../models/phi") + f"  promptTemplate: {{jinja: templates/{name}.jinja}}\n"
        (manifests / f"{name}.yaml").write_text(text)
    parsed = load("manifests")
    assert said(parsed) == [
        ("manifests/fifo.yaml", "PathKind"),
        ("manifests/hard.yaml", "Unreadable"),
        ("manifests/link.yaml", "PathOutside"),
    ]


def test_without_a_checkout_the_parent_of_the_folder_is_allowed(tmp_path: Path) -> None:
    if checkout_of(str(tmp_path)) != str(tmp_path.parent):
        pytest.skip("the temporary folder lies in a checkout")
    (tmp_path / "project" / "models" / "phi").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    write(tmp_path / "project" / "manifests" / "a.yaml", "a", "../models/phi")
    write(tmp_path / "project" / "manifests" / "b.yaml", "b", "../../other")
    parsed = load(str(tmp_path / "project" / "manifests"))
    assert [model.name for model in parsed.models] == ["a"]
    assert [problem.code for problem in parsed.problems] == ["PathOutside"]


def test_the_revision_names_the_declarations_and_not_where_they_lie(tmp_path: Path) -> None:
    def revision(folder: str, name: str = "phi", template: str = "{{- messages -}}") -> str:
        top = tmp_path / folder
        (top / "model").mkdir(parents=True)
        (top / "manifests").mkdir()
        (top / "t.jinja").write_text(template)
        manifest = write(top / "manifests" / "a.yaml", name, "../model")
        manifest.write_text(manifest.read_text() + "  promptTemplate: {jinja: ../t.jinja}\n")
        return load(str(top / "manifests"), allowed_roots=(str(tmp_path / folder),)).revision

    first = revision("first")
    assert first.startswith("folder@sha256:")
    assert revision("elsewhere") == first
    assert len({first, revision("renamed", "qwen"), revision("template", template="{{- messages -}}!")}) == 3


class TestParseCache:
    """It makes a second look cheap, and never wrong."""

    @pytest.fixture
    def cache(self) -> ParseCache:
        return ParseCache()

    @pytest.fixture
    def template(self, manifests: Path) -> Path:
        """A template that the model of `a.yaml` uses."""
        write(manifests / "a.yaml")
        with open(manifests / "a.yaml", "a") as file:
            file.write("  promptTemplate: {jinja: templates/t.jinja}\n")
        template = manifests / "templates" / "t.jinja"
        template.write_text("{{- messages -}}")
        return template

    @pytest.fixture(autouse=True)
    def _old_files(self, template: Path, manifests: Path) -> None:
        """The stamp of a file that was changed just now is not trusted."""
        for file in manifests.rglob("*"):
            os.utime(file, (1, 1))
        time.sleep(0.03)

    def test_what_is_kept_is_what_would_be_parsed(self, cache: ParseCache) -> None:
        first = load("manifests", cache=cache)
        assert first.models
        assert load("manifests", cache=cache) is first
        assert load("manifests") == first

    def test_the_second_look_opens_no_manifest(self, cache: ParseCache, monkeypatch: pytest.MonkeyPatch) -> None:
        first = load("manifests", cache=cache)
        monkeypatch.setattr("reconciler.sources.manifests.read_manifests", pytest.fail)
        monkeypatch.setattr("reconciler.sources.manifests.parse", pytest.fail)
        assert load("manifests", cache=cache) is first

    def test_a_file_that_changes_just_now_is_read_again(self, template: Path, cache: ParseCache) -> None:
        write(template.parents[1] / "a.yaml", "first")
        assert [model.name for model in load("manifests", cache=cache).models] == ["first"]
        write(template.parents[1] / "a.yaml", "other")
        assert [model.name for model in load("manifests", cache=cache).models] == ["other"]

    def test_other_allowed_roots_are_another_parse(self, cache: ParseCache, tmp_path: Path) -> None:
        first = load("manifests", cache=cache)
        assert load("manifests", cache=cache, allowed_roots=(str(tmp_path),)) is not first

    @pytest.mark.parametrize(
        "change",
        [
            "manifest",
            "new manifest",
            "template",
            "template gone",
            "source gone",
            "source is a link out",
            "folder is now a link",
        ],
    )
    def test_any_change_of_the_inputs_is_seen(
        self, change: str, template: Path, manifests: Path, cache: ParseCache, tmp_path: Path
    ) -> None:
        before = load("manifests", cache=cache)
        source = manifests.parent / "models" / "phi"
        if change == "manifest":
            write(manifests / "a.yaml", "qwen")
        elif change == "new manifest":
            write(manifests / "b.yaml", "qwen")
        elif change == "template":
            template.write_text("{{- messages -}}!")
        elif change == "template gone":
            template.unlink()
        elif change == "source gone":
            source.rmdir()
        elif change == "source is a link out":
            source.rmdir()
            source.symlink_to(tmp_path)
        else:
            manifests.rename("elsewhere")
            Path("manifests").symlink_to("elsewhere")
        after = load("manifests", cache=cache)
        assert after == load("manifests")
        assert after is not before

    def test_a_parse_with_problems_is_not_kept(self, manifests: Path, cache: ParseCache) -> None:
        write(manifests / "a.yaml", "BAD")
        first = load("manifests", cache=cache)
        assert first.problems
        assert load("manifests", cache=cache) is not first
