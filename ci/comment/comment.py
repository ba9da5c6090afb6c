"""Put what an untrusted run said into the one comment of its pull request.

A fork's job has no token that writes, so it leaves two files in an artifact: the comment and the number of its pull
request. This runs afterwards, from the default branch, with a token. Whoever opened the pull request may have written
the whole artifact: nothing of it is unpacked, run, or believed. The number must be that of a pull request whose head
is the very commit, branch and repository that GitHub says was run, and the text loses all that could call somebody,
load something or lead elsewhere.

Only Python's own library: beside a token that can write, nothing is installed, and jq or gh may be absent.
"""

import io
import json
import os
import re
import sys
import urllib.error
import urllib.request
import zipfile
import zlib
from typing import Any, NoReturn

MARKER = "<!-- reconciler-diff -->"
LONGEST_COMMENT = 65_536  # characters; GitHub refuses more
LARGEST_ARCHIVE = 1 << 20
LARGEST_FILE = 4 * LONGEST_COMMENT  # bytes: UTF-8 needs at most four a character
MOST_PAGES = 50  # of 100 comments
SECONDS = 30.0

_NUMBER = re.compile(rb"[1-9][0-9]{0,9}\n?")
# Reorder, hide or end text; the word joiner (2060) stays, it is what keeps a mention from being one.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\u200b-\u200f\ufeff\ud800-\udfff]")
# A word joiner behind each of these: invisible, and markdown no longer sees a mention, a link, an image, a tag, an
# entity, another issue, or a command for some other bot.
_ACTIVE = re.compile(
    r"@|:(?=//)|www(?=\.)|\](?=[(:\[])|#(?=\d)|&(?!(?:lt|gt|amp);)"
    r"|<(?=[a-z!?/])(?!/?(?:details|summary|br|code|sub)>)|^[ \t]*(?=/)",
    re.IGNORECASE | re.MULTILINE,
)


class Stay(urllib.request.HTTPRedirectHandler):
    """urllib sends our token wherever a server points; we follow by hand, without it."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Api:
    """The few routes of GitHub's REST interface that are needed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._base = f"{environment['GITHUB_API_URL']}/repos/{environment['GITHUB_REPOSITORY']}"
        self._headers = {
            "Authorization": f"Bearer {environment['GITHUB_TOKEN']}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "reconciler",
        }
        self._opener = urllib.request.build_opener(Stay)

    def ask(self, method: str, route: str, body: dict[str, str] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._base + route, data, self._headers, method=method)
        with self._opener.open(request, timeout=SECONDS) as answer:
            return json.load(answer)

    def archive(self, number: int) -> bytes:
        """The storage it lies in is another host: it gets an address that is signed, and no token."""
        where = f"{self._base}/actions/artifacts/{number}/zip"
        try:
            self._opener.open(urllib.request.Request(where, headers=self._headers), timeout=SECONDS).close()
        except urllib.error.HTTPError as moved:
            if moved.code not in (302, 307):
                raise
            where = moved.headers["Location"]
            moved.close()
        with self._opener.open(where, timeout=SECONDS) as answer:
            data: bytes = answer.read(LARGEST_ARCHIVE + 1)
        return data


def refuse(why: str) -> NoReturn:
    sys.exit(f"error: {why}")


def main() -> None:
    environment = dict(os.environ)
    with open(environment["GITHUB_EVENT_PATH"], encoding="utf-8") as file:
        run = json.load(file)["workflow_run"]
    api = Api(environment)
    held = find_artifact(api, run["id"], environment["RECONCILER_ARTIFACT"])
    if held is None:
        print("no artifact: the run ended before it had anything to say")
        return
    files = unpack(api.archive(held["id"]) if held["size_in_bytes"] <= LARGEST_ARCHIVE else b"")
    number = pull_request(api, files["number"], run)
    if number:
        where = f"{environment['GITHUB_SERVER_URL']}/{environment['GITHUB_REPOSITORY']}/actions/runs/{run['id']}"
        say(api, number, environment["RECONCILER_AUTHOR"], comment(files["comment.md"], where))


def find_artifact(api: Api, run: int, name: str) -> dict[str, Any] | None:
    """The newest of this name: a run that was tried again has several."""
    answer = api.ask("GET", f"/actions/runs/{int(run)}/artifacts?per_page=100")
    named = [held for held in answer["artifacts"] if held["name"] == name and not held["expired"]]
    return max(named, key=lambda held: int(held["id"]), default=None)


def unpack(archive: bytes) -> dict[str, bytes]:
    """Two files, by name, into memory: no path of the archive ever meets a disk."""
    if not 0 < len(archive) <= LARGEST_ARCHIVE:
        refuse(f"the artifact is larger than {LARGEST_ARCHIVE} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as held:
            return {name: read(held, name) for name in ("number", "comment.md")}
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, ValueError):
        refuse("the artifact is not one of ours")


def read(held: zipfile.ZipFile, name: str) -> bytes:
    """What the archive says about its sizes is as foreign as the rest: count what comes out."""
    with held.open(name) as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        refuse(f"{name} in the artifact is larger than {LARGEST_FILE} bytes")
    return data


def pull_request(api: Api, said: bytes, run: dict[str, Any]) -> int:
    """The number that the artifact names, once GitHub agrees that its head is what was run."""
    if not _NUMBER.fullmatch(said):
        refuse("the artifact names no pull request")
    number = int(said)
    head = api.ask("GET", f"/pulls/{number}")["head"]
    repository = (head["repo"] or {}).get("full_name")  # null once a fork is deleted
    if (repository, head["ref"]) != (run["head_repository"]["full_name"], run["head_branch"]):
        refuse(f"pull request {number} is not the one that was run")
    if head["sha"] != run["head_sha"]:
        print(f"pull request {number} has moved on: its next run will comment")
        return 0
    return number


def comment(said: bytes, where: str) -> str:
    text = said.decode("utf-8", errors="replace").replace("\r\n", "\n")
    if not text.startswith(MARKER):
        refuse("the comment does not begin with our marker")
    harmless = MARKER + defused(text.removeprefix(MARKER))
    if len(harmless) <= LONGEST_COMMENT:
        return harmless
    return f"{MARKER}\nThis change is too large for a comment: see the summary of [its run]({where}).\n"


def defused(text: str) -> str:
    return _ACTIVE.sub(lambda match: match.group() + "\u2060", _HIDDEN.sub("", text))


def say(api: Api, number: int, author: str, text: str) -> None:
    """Anybody can write our marker, so the author counts as well."""
    ours = find_comment(api, number, author)
    if ours is None:
        api.ask("POST", f"/issues/{number}/comments", {"body": text})
    elif ours["body"] != text:
        api.ask("PATCH", f"/issues/comments/{int(ours['id'])}", {"body": text})
    print(f"pull request {number}: commented")


def find_comment(api: Api, number: int, author: str) -> dict[str, Any] | None:
    for page in range(1, MOST_PAGES + 1):
        found: list[dict[str, Any]] = api.ask("GET", f"/issues/{number}/comments?per_page=100&page={page}")
        for one in found:
            if (one["user"] or {}).get("login") == author and one["body"].startswith(MARKER):
                return one
        if len(found) < 100:
            return None
    refuse(f"pull request {number} has more than {MOST_PAGES * 100} comments")


if __name__ == "__main__":
    try:
        main()
    except urllib.error.HTTPError as error:
        error.close()
        route = error.url.partition("?")[0]  # what follows in an address of the storage opens it
        sys.exit(f"error: GitHub answered {error.code} to {route}")
    except OSError as error:
        sys.exit(f"error: GitHub was not reached: {error}")
