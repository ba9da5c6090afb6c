"""The one process that talks to the hub: it has the network and the token, and runs no code of any model.

It lists the files of a commit and downloads one file at a time; the parent compares the bytes with the lock. Refusals
of the hub are answers, not crashes: each has a code, and the time to wait where the hub names one.

huggingface_hub 2.4 throws a partial download away when its process ends, and takes any content of the right size. So
only its inner `http_get` is used, on a partial file of our own: it asks for the rest by Range, also in a later process.
"""

import errno
import functools
import itertools
import os
import time
from dataclasses import dataclass
from typing import Any

from reconciler.domain.errors import InputRefused
from reconciler.host import confine
from reconciler.host.child_side import Emit, Json, serve

LONGEST_WAIT = 60  # seconds that we sit out when the hub says so; a longer one is the caller's to plan
PATIENCE = 5  # refusals for being too fast, in a row
MOST_ENTRIES = 10_000  # of a repository's first level
MEMORY = 768 << 20  # bytes; the library reads answers whole, however long they are, and unpacks them first


@dataclass(frozen=True, kw_only=True)
class _File:
    repo: str
    revision: str
    path: str
    size: int
    target: str
    piece: int  # what is written at once, so what a cut connection costs: the library's own are 10 MiB


def main() -> None:
    _bound_memory()  # guard: an answer of the hub has a bound of memory
    serve({"commit": _answering(commit), "tree": _answering(tree), "download": _answering(download)})


def commit(parameters: Json, emit: Emit) -> Json:
    info = _api().model_info(parameters["repo"], revision=parameters["revision"] or None, timeout=30)
    return {"commit": str(info.sha)}


def tree(parameters: Json, emit: Emit) -> Json:
    """The files directly in a commit, or in a folder of it; `sha256` is "" where the hub does not know it."""
    from huggingface_hub.hf_api import RepoFile

    folder = parameters["folder"] or None
    found = _api().list_repo_tree(parameters["repo"], folder, revision=parameters["revision"], recursive=False)
    entries = list(itertools.islice(found, MOST_ENTRIES + 1))  # guard: a listing of the hub ends
    if len(entries) > MOST_ENTRIES:
        raise InputRefused("HubInvalid", f"the hub lists more than {MOST_ENTRIES:,} files")
    return {
        "files": [
            {"path": str(one.path), "size": int(one.size), "sha256": str(one.lfs.sha256 if one.lfs else "")}
            for one in entries
            if isinstance(one, RepoFile)
        ]
    }


def download(parameters: Json, emit: Emit) -> Json:
    """Leaves the whole file in `target`, or as much of it as came: the next call goes on from there."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported, not in __all__

    file = _File(**parameters)
    constants.DOWNLOAD_CHUNK_SIZE = file.piece
    url = _ask(file, emit)
    if os.path.exists(file.target) and os.path.getsize(file.target) > file.size:
        os.truncate(file.target, 0)
    with open(file.target, "ab"), open(file.target, "r+b", buffering=0) as target:
        have = target.seek(0, os.SEEK_END)
        headers = {**build_hf_headers(token=_token()), "Accept-Encoding": "identity"}
        bounded: Any = _Bounded(target, file.size, emit)
        http_get(url, bounded, resume_size=have, headers=headers, expected_size=file.size)
    return {}


def _ask(file: _File, emit: Emit) -> str:
    """The file's address, once the hub grants it. A short wait that the hub asks for is waited here."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    url = hf_hub_url(file.repo, file.path, revision=file.revision, endpoint=os.environ["HF_ENDPOINT"])
    for attempt in range(PATIENCE):
        try:
            found = get_hf_file_metadata(url, token=_token(), timeout=30)
        except HfHubHTTPError as error:
            delay = _delay(error)
            if error.response.status_code != 429 or delay > LONGEST_WAIT or attempt == PATIENCE - 1:
                raise
            emit({"waiting": delay})  # otherwise this is silence
            time.sleep(delay)
        else:
            if found.size is not None and found.size != file.size:
                raise InputRefused("DigestMismatch", f"the hub has {found.size} bytes of it, the lock says {file.size}")
            return url
    raise AssertionError("unreachable")


class _Bounded:
    """A file that grows to `size` and no further, reports how far it is, and waits for leave to go on."""

    def __init__(self, file: Any, size: int, emit: Emit) -> None:
        self._file = file
        self._size = size
        self._emit = emit
        self._told = file.tell()

    def write(self, data: bytes) -> int:
        position = self._file.tell()
        if position + len(data) > self._size:
            raise InputRefused("DigestMismatch", f"the hub sends more than the {self._size} bytes of the lock")
        if position < self._told:  # it begins anew
            self._emit.and_wait({"bytes": position})
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._told = position + len(data)
        self._emit.and_wait({"bytes": self._told})
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ["HF_ENDPOINT"], token=_token())


def _token() -> str | bool:
    """False, not None: None would look for one in the home of the user."""
    return os.environ.get("HF_TOKEN") or False


def _bound_memory() -> None:
    confine.limit(RLIMIT_DATA=MEMORY)


@functools.cache
def _guard_the_token() -> None:
    """It goes to the hub alone. The library takes it along to wherever a listing says that its next page is."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def client() -> Any:
        one = default_client_factory()
        one.event_hooks = {**one.event_hooks, "request": [*one.event_hooks["request"], _without_token_elsewhere]}
        return one

    set_client_factory(client)


def _without_token_elsewhere(request: Any) -> None:
    import httpx2

    url, hub = request.url, httpx2.URL(os.environ["HF_ENDPOINT"])
    # guard: the hub's token goes to the hub alone
    if (url.scheme, url.host, url.port) != (hub.scheme, hub.host, hub.port):
        request.headers.pop("authorization", None)


def _answering(handler: Any) -> Any:
    """The handler, with every refusal of the hub and the network as an answer."""

    def answer(parameters: Json, emit: Emit) -> Json:
        try:
            _guard_the_token()
            return dict(handler(parameters, emit))
        except Exception as error:  # noqa: BLE001 - `refusal` passes on what it does not know
            return {"refused": refusal(error)}

    return answer


def refusal(error: Exception) -> Json:
    """Without the error's own text where that may hold an address: those of a content network are signed."""
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, InputRefused):
        return _refused(error.code, str(error))
    known = {  # the first that fits: they inherit from each other
        MemoryError: ("HubInvalid", f"the hub's answer needs more than {MEMORY >> 20} MiB"),
        errors.GatedRepoError: ("HubGated", "the hub wants its terms accepted first"),
        errors.RevisionNotFoundError: ("HubNotFound", "the hub has no such commit of it"),
        errors.RemoteEntryNotFoundError: ("HubNotFound", "the hub has no such file at this commit"),
        errors.RepositoryNotFoundError: ("HubForbidden", "the hub has no such model, or it is private"),
    }
    for kind, (code, message) in known.items():
        if isinstance(error, kind):
            return _refused(code, message)
    if isinstance(error, errors.HfHubHTTPError):
        return _by_status(error)
    if isinstance(error, httpx2.HTTPError):
        return _refused("HubUnreachable", f"the connection failed ({type(error).__name__})")
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _refused("DiskFull", "no space left")
        return _refused("HubUnreachable", "the connection ended before the file did")
    raise error


def _by_status(error: Any) -> Json:
    status = error.response.status_code
    if status == 429:
        return _refused("HubBusy", "the hub asks for fewer requests", _delay(error))
    if status in (401, 403):
        return _refused("HubForbidden", f"the hub refuses the token ({status})")
    if status == 404:
        return _refused("HubNotFound", "the hub does not have it")
    return _refused("HubUnreachable", f"the hub answers {status}", _delay(error))


def _delay(error: Any) -> float:
    """Seconds; the hub may also name a date, which is not read."""
    seconds = error.response.headers.get("Retry-After", "")
    return float(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 7 else 0.0


def _refused(code: str, message: str, delay: float = 0.0) -> Json:
    return {"code": code, "message": message, "delay": delay}


if __name__ == "__main__":
    main()
