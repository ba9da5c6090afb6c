"""Whatever is in a manifest: it is said in bounded time, with place and stable code, and the good one beside it stands.

`UPDATE_GOLDEN=1 pytest tests/bad_inputs` writes golden/ anew; read the difference before you commit it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bad_inputs.manifests import GOOD, GROUPS, Case

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="makes FIFOs, links and odd names")

GOLDEN = Path(__file__).parent / "golden"
SECONDS = 3.0  # the slowest takes 0.4 s on an idle machine

Judge = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    command = [sys.executable, "-m", "tests.bad_inputs.judge"]
    here = Path(__file__).parents[2]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(here), "PYTHONUTF8": "1"}
    with subprocess.Popen(
        command, stdin=-1, stdout=-1, text=True, encoding="utf-8", env=environment, cwd=here
    ) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def ask(folder: Path) -> dict[str, Any]:
            stdin.write(f"{folder}\n")
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline() or '{"died": true}')
            return answer

        yield ask
        stdin.close()


def lay(case: Case, top: Path) -> Path:
    """A checkout in which the case lies beside a good manifest, with a secret outside of it."""
    repository, outside = top / "repository", top / "outside"
    for folder in (repository / ".git", repository / "models" / "phi", repository / "manifests", outside):
        folder.mkdir(parents=True)
    (outside / "secret.yaml").write_text("password: hunter2\n")
    (outside / "t.jinja").write_text("{{ messages }} hunter2")
    (repository / "models" / "out").symlink_to(outside)
    os.chdir(repository)
    for name, put in ({"good.yaml": GOOD.encode()} | case).items():
        path = Path("manifests", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(put if isinstance(put, bytes) else b"")
        if callable(put):
            put(path)
    return repository


@pytest.mark.parametrize("group", GROUPS)
def test_bad_manifests(group: str, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = ""
    for number, (name, case) in enumerate(GROUPS[group].items()):
        answer = judge(lay(case, tmp_path / str(number)))
        assert "died" not in answer, name
        assert answer["seconds"] < SECONDS, name
        assert answer["codes"], name
        assert "good" in answer["models"], name
        assert "hunter2" not in answer["text"], name
        assert max(map(len, answer["text"].splitlines())) < 400, name
        said += f"=== {name}\n{answer['text']}codes: {', '.join(answer['codes'])}\n\n"
    golden = GOLDEN / f"{group}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "value", ["no", "on", "1.10", "12:30", "014", "1_000", "~", "null", "0x10", "1e3", "=", "2026-01-01"]
)
def test_text_that_yaml_likes_to_change_is_not_changed(value: str, judge: Judge, tmp_path: Path) -> None:
    text = GOOD.replace("{name: good}", f"{{name: good, labels: {{a: {value}, on: b}}}}")
    answer = judge(lay({"good.yaml": text.encode()}, tmp_path))
    assert (answer["models"], answer["codes"]) == (["good"], [])


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"# nothing\n", b"---\n", b"\xef\xbb\xbf", GOOD.replace("\n", "\r\n").encode()]
)
def test_what_is_not_wrong_is_not_said(data: bytes, judge: Judge, tmp_path: Path) -> None:
    answer = judge(lay({"other.yaml": data.replace(b"good", b"other")}, tmp_path))
    assert answer["codes"] == []
