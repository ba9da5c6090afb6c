"""The step with the token, against a stand-in of GitHub: one comment that stays, an artifact that is not believed."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.reports.pull_request import DIFF_MARKER, details
from tests.ci.github_server import BOT, REPOSITORY, TOKEN, GitHub
from tests.ci.steps import Ran, Runner

SHA = "a" * 40
JOINER = "\u2060"


def packed(**files: str | bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return held.getvalue()


def said(text: str = f"{DIFF_MARKER}\nnothing changes\n", number: str | bytes = "7\n") -> bytes:
    return packed(number=number, comment_md=text)


def pull(sha: str = SHA, branch: str = "topic", repository: str | None = "someone/models") -> dict[str, object]:
    return {"head": {"sha": sha, "ref": branch, "repo": repository and {"full_name": repository}}}


@pytest.fixture
def github() -> Iterator[GitHub]:
    with GitHub(archive=said(), pulls={7: pull(), 8: pull("b" * 40, "other", "victim/models")}).running() as one:
        yield one


def step(github: GitHub, folder: Path) -> Ran:
    event = folder / "event.json"
    run = {"id": 77, "head_sha": SHA, "head_branch": "topic", "head_repository": {"full_name": "someone/models"}}
    event.write_text(json.dumps({"workflow_run": run}))
    runner = Runner(action="ci/comment/action.yml", folder=folder, contexts={"github.token": TOKEN})
    ran = runner.step(
        "Comment",
        cwd=folder,
        GITHUB_API_URL=github.url,
        GITHUB_SERVER_URL="https://github.example",
        GITHUB_REPOSITORY=REPOSITORY,
        GITHUB_EVENT_PATH=str(event),
    )
    assert TOKEN not in ran.out + ran.err
    assert "Traceback" not in ran.err
    return ran


def bodies(github: GitHub, number: int = 7) -> list[str]:
    return [one["body"] for one in github.comments if one["issue"] == number]


def writes(github: GitHub) -> list[str]:
    return [request for request in github.requests if not request.startswith("GET ")]


def test_a_second_run_changes_the_comment_that_is_there(github: GitHub, tmp_path: Path) -> None:
    assert step(github, tmp_path).code == 0
    github.archive = said(f"{DIFF_MARKER}\ntwo models change\n")
    assert step(github, tmp_path).code == 0
    assert bodies(github) == [f"{DIFF_MARKER}\ntwo models change\n"]
    assert len(writes(github)) == 2


def test_an_equal_comment_is_left_alone(github: GitHub, tmp_path: Path) -> None:
    step(github, tmp_path)
    step(github, tmp_path)
    assert len(writes(github)) == 1


def test_our_comment_is_found_behind_many_others(github: GitHub, tmp_path: Path) -> None:
    for n in range(230):
        github.comment(7, "someone", f"remark {n}")
    github.comment(7, BOT, f"{DIFF_MARKER}\nold\n")
    assert step(github, tmp_path).code == 0
    assert bodies(github)[230:] == [f"{DIFF_MARKER}\nnothing changes\n"]


@pytest.mark.parametrize(
    ("author", "body"),
    [("someone", f"{DIFF_MARKER}\nforged"), (BOT, "another action's comment"), (BOT, f"quoting {DIFF_MARKER}")],
)
def test_the_marker_and_the_author_must_both_be_ours(github: GitHub, tmp_path: Path, author: str, body: str) -> None:
    github.comment(7, author, body)
    assert step(github, tmp_path).code == 0
    assert bodies(github) == [body, f"{DIFF_MARKER}\nnothing changes\n"]


def test_the_storage_is_given_no_token(github: GitHub, tmp_path: Path) -> None:
    step(github, tmp_path)
    assert github.storage_saw == [None]


@pytest.mark.parametrize(
    "number",
    ["1; rm -rf", "7 8", "", "-7", "07", "0", "7\n8", "../7", "٧", "7" * 40, b"\xff"],  # noqa: RUF001
)
def test_what_is_no_number_names_no_pull_request(github: GitHub, tmp_path: Path, number: str | bytes) -> None:
    github.archive = said(number=number)
    ran = step(github, tmp_path)
    assert (ran.code, ran.err) == (1, "error: the artifact names no pull request\n")
    assert writes(github) == []


@pytest.mark.parametrize(
    "theirs",
    [
        pull("b" * 40, "other", "victim/models"),
        pull(SHA, "topic", "victim/models"),  # the same commit, pushed elsewhere
        pull(SHA, "other"),
        pull(SHA, "topic", None),  # the fork was deleted
    ],
)
def test_the_pull_request_of_somebody_else_is_not_written_to(
    github: GitHub, tmp_path: Path, theirs: dict[str, object]
) -> None:
    github.pulls[7] = theirs
    ran = step(github, tmp_path)
    assert (ran.code, ran.err) == (1, "error: pull request 7 is not the one that was run\n")
    assert writes(github) == []


def test_a_pull_request_that_is_not_there_is_one_line(github: GitHub, tmp_path: Path) -> None:
    github.archive = said(number="99")
    ran = step(github, tmp_path)
    assert ran.code == 1
    assert ran.err.startswith("error: GitHub answered 404 to http://127.0.0.1:")
    assert ran.err.endswith("/pulls/99\n")


def test_an_older_run_does_not_overwrite_what_a_newer_says(github: GitHub, tmp_path: Path) -> None:
    github.pulls[7] = pull("c" * 40)
    ran = step(github, tmp_path)
    assert ran.code == 0
    assert "has moved on" in ran.out
    assert writes(github) == []


BOMB = packed(number="7", comment_md=DIFF_MARKER + "x" * 10_000_000)


@pytest.mark.parametrize(
    ("archive", "complaint"),
    [
        (BOMB, "comment.md in the artifact is larger than 262144 bytes"),
        (b"x" * 10_000_000, "the artifact is larger than 1048576 bytes"),
        (b"no archive", "the artifact is not one of ours"),
        (packed(number="7"), "the artifact is not one of ours"),
        (BOMB[:-40] + b"\0" * 40, "the artifact is not one of ours"),
        (said("no marker"), "the comment does not begin with our marker"),
        (said(f" {DIFF_MARKER}"), "the comment does not begin with our marker"),
    ],
    ids=["10 MB in a small archive", "10 MB", "garbage", "no comment", "cut", "no marker", "marker later"],
)
def test_an_artifact_that_is_not_ours_is_refused(
    github: GitHub, tmp_path: Path, archive: bytes, complaint: str
) -> None:
    github.archive = archive
    ran = step(github, tmp_path)
    assert (ran.code, ran.err) == (1, f"error: {complaint}\n")
    assert writes(github) == []


def test_a_path_in_the_archive_meets_no_disk(github: GitHub, tmp_path: Path) -> None:
    with zipfile.ZipFile(held := io.BytesIO(said()), "a") as archive:
        archive.writestr("../../escaped", "x")
        archive.writestr("/escaped", "x")
    github.archive = held.getvalue()
    before = {path.name for path in tmp_path.rglob("*")}
    assert step(github, tmp_path).code == 0
    assert not Path("/escaped").exists()
    after = {path.name for path in tmp_path.rglob("*")} - before
    assert after <= {"runner", "event.json", "step.sh", "github_output", "github_step_summary", "github_path"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@everyone", f"@{JOINER}everyone"),
        ("&#64;everyone", f"&{JOINER}#{JOINER}64;everyone"),
        ("&commat;x", f"&{JOINER}commat;x"),
        ("![x](https://evil/x.png)", f"![x]{JOINER}(https:{JOINER}//evil/x.png)"),
        ("[x]: //evil", f"[x]{JOINER}: //evil"),
        ("www.evil.example", f"www{JOINER}.evil.example"),
        ("<img src=x>", f"<{JOINER}img src=x>"),
        ("<details open>", f"<{JOINER}details open>"),
        ("<!-- -->", f"<{JOINER}!-- -->"),
        ("closes #12", f"closes #{JOINER}12"),
        ("/ok-to-test", f"{JOINER}/ok-to-test"),
        ("  /merge", f"  {JOINER}/merge"),
        ("a\u202eb\x1b[31m\0", "ab[31m"),
        # what a comment of ours is made of
        (r"| a &lt;b&gt; &amp; \[x\]\(y\) |", None),
        (details("fields", ["- template: <|im_start|>", "+ template: `<|im_end|>`"]), None),
    ],
)  # fmt: skip
def test_what_a_comment_could_do_it_only_shows(github: GitHub, tmp_path: Path, text: str, shown: str | None) -> None:
    github.archive = said(f"{DIFF_MARKER}\n{text}\n")
    assert step(github, tmp_path).code == 0
    assert bodies(github) == [f"{DIFF_MARKER}\n{text if shown is None else shown}\n"]


@pytest.mark.parametrize("text", ["x" * 65_536, "@a" * 30_000])
def test_what_does_not_fit_a_comment_is_pointed_to(github: GitHub, tmp_path: Path, text: str) -> None:
    github.archive = said(DIFF_MARKER + text)
    assert step(github, tmp_path).code == 0
    (body,) = bodies(github)
    assert body.startswith(DIFF_MARKER)
    assert "(https://github.example/fleet/models/actions/runs/77)" in body


@pytest.mark.parametrize(("archive", "expired"), [(b"", False), (said(), True)])
def test_without_an_artifact_there_is_nothing_to_say(
    github: GitHub, tmp_path: Path, archive: bytes, expired: bool
) -> None:
    github.archive, github.expired = archive, expired
    ran = step(github, tmp_path)
    assert (ran.code, writes(github)) == (0, [])
    assert ran.out.startswith("no artifact")
