"""Only host/durable.py changes what lasts. Everybody else who writes to a disk is on this list, with the reason."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "reconciler"

CHANGES = {
    "os": {
        *(
            "rename",
            "renames",
            "replace",
            "remove",
            "unlink",
            "rmdir",
            "removedirs",
            "mkdir",
            "makedirs",
            "link",
            "symlink",
        ),
        *("truncate", "ftruncate", "chmod", "fchmod", "lchmod", "chown", "utime", "write", "pwrite", "mkfifo", "mknod"),
        *("setxattr", "removexattr", "fsync", "fdatasync", "copy_file_range", "sendfile"),
    },
    "shutil": {
        "rmtree",
        "move",
        "copy",
        "copy2",
        "copyfile",
        "copytree",
        "copymode",
        "copystat",
        "chown",
        "make_archive",
    },
    "tempfile": {"mkdtemp", "mkstemp", "TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile"},
}
METHODS = {"write_text", "write_bytes", "mkdir", "rmdir", "touch", "symlink_to", "hardlink_to"}
WRITING = set("wxa+")

THE_ONE = "host/durable.py"
ALLOWED = {
    "cli/verbs/demo.py": "a throw-away folder, and the user's own edits played in it",
    "cli/verbs/lock.py": "the scratch of the downloading child, in the system's temporary folder",
    "conversion/client/converter.py": "an attempt's scratch, in staging, and the logs that are kept of the latest ones",
    "conversion/client/job_client.py": "the log of an attempt and its result, in staging",
    "conversion/worker/taken_over.py": "runs in the converter's child: what it made, in scratch",
    "conversion/worker/job.py": "runs in the converter's child: its scratch and its output, in staging",
    "conversion/worker/forked.py": "runs in the converter's child: the pipe with a job's answer",
    "conversion/worker/spawned.py": "runs in the converter's child: the pipe with a job's answer",
    "conversion/worker/staging.py": "runs in the converter's child: a model folder put together in scratch",
    "daemon/http/server.py": "a socket that ends with the daemon",
    "machine_reports/git_branch.py": "a cache of what the server has, and of the next commit; torn, it is made anew",
    "machine_reports/oci_tags.py": "what is uploaded lies in a temporary folder meanwhile",
    "operations/fleet.py": "a bare clone in the system's temporary folder, read and let go",
    "operations/benchmark.py": "a throw-away folder",
    "operations/lock.py": "a download into the system's temporary folder: `lock` looks at it and lets go",
    "engine/job_queue.py": "the folder of one job, in staging; it is nobody's once the job has ended",
    "engine/job.py": "a job's note in staging, for `status` meanwhile: it may be missing or old",
    "host/child.py": "the log of a child",
    "host/child_side.py": "the pipe to the parent",
    "host/confine.py": "what a process tells the kernel about itself, below /proc/self",
    "host/system/posix.py": "what a flush is here, for host/durable.py",
    "host/system/windows.py": "what a flush is here, and a flag that stands in the way, for host/durable.py",
    "host/lock.py": "the lock's own file: empty, and never removed",
    "backends/foundry/foundry.py": "the runtime's scratch, in staging",
    "backends/foundry_cache/cache_runtime.py": "links in a cache that is thrown away; empty folders of ours are taken",
    "backends/worker_side.py": "what a process tells the kernel about itself, below /proc/self",
    "backends/foundry/provider_profile.py": "runs in the runtime's child: its profile, in its own temporary folder",
    "backends/foundry/worker.py": "runs in the runtime's child: Foundry Local's own lock file",
    "registry/archive.py": "a partial file, named only after its digest was found right",
    "registry/oci_tar.py": "a partial file, flushed and named when all of it is there",
    "registry/download.py": "a partial file, named only after its digest was found right",
    "registry/lfs_source.py": "a partial file, believed only after it was hashed",
    "sources/catalog/source.py": "out of the SDK's folder into a partial file, believed only after it was hashed",
    "sources/catalog/worker.py": "runs in the downloading child: the SDK's folder within a partial one",
    "sources/child_source.py": "the scratch of the downloading child, in staging, and the folder of its log",
    "sources/hub/worker.py": "runs in the downloading child: a partial file, believed only after it was hashed",
}


# What any of them looks like in a text: most files have none, and need not be taken apart.
_FUNCTIONS = "|".join(rf"{module}\s*\.\s*(?:{'|'.join(sorted(names))})\b" for module, names in CHANGES.items())
_NAMED = re.compile(rf"\b(?:{_FUNCTIONS}|(?:{'|'.join(sorted({'open', 'fdopen', *METHODS}))})\s*\()")


def writes(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)) if _NAMED.search(text) else ():
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in CHANGES.get(node.value.id, ()):  # called, or given to what calls it
                yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call) and (name := _changing(node)):
            yield node.lineno, name


def _changing(call: ast.Call) -> str:
    """The name of what a call changes the disk with, or ""; apart from CHANGES."""
    match call.func:
        case ast.Attribute(value=ast.Name(id=module), attr=name) if name in CHANGES.get(module, ()):
            return ""
        case ast.Attribute(value=ast.Name(id="os"), attr="open"):
            return "os.open" if "O_CREAT" in ast.dump(call) else ""
        case ast.Attribute(value=ast.Name(id="durable")):
            return ""
        case ast.Attribute(attr=name) if name in METHODS:
            return name
        case ast.Name(id="open") | ast.Attribute(value=ast.Name(id="os" | "io"), attr="fdopen"):
            return "open" if _mode(call) & WRITING else ""
    return ""


def _mode(call: ast.Call) -> set[str]:
    given = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "mode")]
    return {letter for one in given if isinstance(one, ast.Constant) for letter in str(one.value)}


@cache
def found() -> dict[str, list[tuple[int, str]]]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): list(writes(path)) for path in paths}


def test_only_one_module_writes_what_must_last() -> None:
    unknown = {name: calls for name, calls in found().items() if calls and name not in {THE_ONE, *ALLOWED}}
    assert unknown == {}


def test_nobody_is_on_the_list_who_writes_nothing() -> None:
    writing = {name for name, calls in found().items() if calls}
    assert ALLOWED.keys() - writing == set()


@pytest.mark.parametrize(
    "line",
    [
        "os.replace(a, b)",
        "shutil.rmtree(a)",
        "open(a, 'w')",
        "open(a, mode='r+b')",
        "Path(a).write_text(b)",
        "os.open(a, os.O_WRONLY | os.O_CREAT)",
        "os.fdopen(a, 'wb')",
        "(os.link if a else b)(c, d)",
        "partial(shutil.copyfile, a)",
    ],
)
def test_a_write_is_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.py").write_text(line)
    assert len(list(writes(tmp_path / "x.py"))) == 1


def test_reading_is_not_writing(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("open(a)\nopen(a, 'rb')\nos.open(a, os.O_RDONLY)\nos.stat(a)\nshutil.which(a)\n")
    assert list(writes(tmp_path / "x.py")) == []
