"""The one place that starts git, through GitPython's `Git.execute`, with our environment, options and limits.

git runs programs that configuration names, asks on terminals, follows redirects and waits for ever. So no configuration
but ours is read, nothing is asked, and each command has a limit of time, output, memory and disk. Arguments are fixed
lists; a value from outside stands behind `--` or is checked by `address`. Only the exit code decides; texts are for
people and are cleaned of control characters and of the token.

GitPython's own limits do not fit: `kill_after_timeout` does not exist on Windows, looks for children with `ps`, and
output is not bounded. So `process` watches what `execute(as_process=True)` returns.
Limit: a git whose reconciler was killed outright lives until its own low-speed limit ends it; it can only fetch.
"""

import contextlib
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from reconciler.domain.errors import PermanentError, RaisedOnPurpose, UsageError
from reconciler.domain.text.quoting import printable
from reconciler.host import system
from reconciler.sources.git.address import Remote, realm
from reconciler.sources.git.process import COMPLAINT, Reader, end, folder_size, watched

# Seconds.
LOCAL_TIME = 120.0
POLL_TIME = 60.0
FETCH_TIME = 1800.0
OUTPUT = 16 << 20  # bytes
MEMORY = 2 << 30  # bytes of each git process; deltas of weights of hundreds of megabytes need them

OPTIONS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.bigFileThreshold": "1m",  # larger objects are streamed, so a small pack cannot fill the memory
    "core.alternateRefsCommand": "",
    "credential.helper": "",
    "fetch.fsckObjects": "true",
    "fetch.unpackLimit": "1",  # always one pack: a torn fetch leaves one temporary file, not a thousand
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.followRedirects": "false",  # guard: redirects are not followed
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "protocol.version": "2",
    "submodule.recurse": "false",
    "gpg.x509.program": "false",
    "transfer.bundleURI": "false",
}

ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_SSH_VARIANT": "ssh",
    # guard: the hub's token is not git's to know
    "HF_TOKEN": "",  # of others; it is in the environment that GitPython copies
    "RECONCILER_SIGNING_PASSPHRASE": "",
    "RECONCILER_GIT_TOKEN": "",  # it is given below, with the user
}

# What an operator sets for TLS holds for us too; everything else that begins with GIT_ does not.
_PASSED_ON = ("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_PROXY_SSL_CAINFO", "GIT_EXEC_PATH")

# Reads two variables of the environment: the token stands in no argument and in no file of ours.
_HELPER = '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$RECONCILER_USER" "$RECONCILER_TOKEN"; }; f'

# On Windows GitPython asks for it by itself, and a second time would be an error.
_OWN_GROUP: dict[str, Any] = {} if sys.platform == "win32" else system.NEW_GROUP

_starting = threading.Lock()


class GitFailed(RaisedOnPurpose):
    """A command ended with another code than 0. `complaint` is git's last error line."""

    def __init__(self, command: str, code: int, complaint: str) -> None:
        super().__init__(f"git {command}: {complaint or f'exit code {code}'}")
        self.code, self.complaint = code, complaint


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """All from the machine's own configuration, never from the repository. Paths are absolute, "" is none.

    `gnupg` is a GNUPGHOME: a signature by any key in it counts. `realm` and `user` say to whom the token is given.
    """

    realm: str = ""
    user: str = ""
    token: str = ""
    ssh_key: str = ""
    known_hosts: str = ""
    allowed_signers: str = ""
    gnupg: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"


MAX_TOKEN = 4096  # characters


def read_token(path: str) -> str:
    """The token for https: of a file, or RECONCILER_GIT_TOKEN for "". Never shown, not even in an error."""
    if path:
        if not os.path.isfile(path):
            raise UsageError(f"--token-file: there is no file {path}")
        with open(path, encoding="utf-8", errors="replace") as file:
            token = file.read(MAX_TOKEN + 1).strip()
    else:
        token = os.environ.get("RECONCILER_GIT_TOKEN", "").strip()
    if len(token) > MAX_TOKEN or not token.isprintable() or (path and not token):
        raise UsageError("expected a token: one line of printable characters")
    return token


NETWORK = "https:ssh"  # the transports of `GIT_ALLOW_PROTOCOL`


class GitRunner:
    """Runs git on one git directory. `protocols` are the transports that it may use, "" for none at all."""

    def __init__(self, folder: str, credentials: Credentials | None = None, *, protocols: str = NETWORK) -> None:
        self._folder = folder
        self._credentials = credentials or Credentials()
        self._protocols = protocols

    @classmethod
    def of(cls, remote: Remote, folder: str, credentials: Credentials) -> "GitRunner":
        """For the server of `remote`, which the credentials are given to."""
        server, user = realm(remote.url)
        known = replace(credentials, realm=server, user=user)
        return cls(folder, known, protocols=f"{NETWORK}:file" if remote.allow_file else NETWORK)

    def at(self, folder: str) -> "GitRunner":
        return GitRunner(folder, self._credentials, protocols=self._protocols)

    def text(self, *arguments: str, seconds: float = LOCAL_TIME) -> str:
        return self.run(*arguments, seconds=seconds)[1].decode("utf-8", "replace").strip()

    def code(self, *arguments: str) -> int:
        return self.run(*arguments, ok=tuple(range(256)))[0]

    def run(
        self,
        *arguments: str,
        ok: tuple[int, ...] = (0,),
        seconds: float = LOCAL_TIME,
        limit: int = OUTPUT,
        growing: tuple[str, int] | None = None,
    ) -> tuple[int, bytes]:
        """Exit code and stdout. `growing` is a folder, and the bytes that it may grow to meanwhile.

        Raises GitFailed for a code that is not `ok`, OutOfBounds, and TemporaryError when the time is over.
        """
        started = self._start(arguments, stdin=None)
        out = Reader(started.proc.stdout, limit)
        complaint = watched(started.proc, out, arguments[0], seconds, growing)
        code: int = started.proc.returncode
        if code not in ok:
            raise GitFailed(arguments[0], code, self._clean(complaint))
        return code, bytes(out.held)

    def fetch(self, remote: Remote, ref: str, *options: str, limit: int) -> None:
        """Bring its branch here, as `ref`. `limit` is how many bytes may come. Raises as `run` does."""
        packs = os.path.join(self._folder, "objects", "pack")
        self.run(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"),
            *("--no-auto-maintenance", *options, "--", remote.url, f"+refs/heads/{remote.branch}:{ref}"),
            seconds=FETCH_TIME,
            growing=(packs, folder_size(packs) + limit),
        )

    @contextlib.contextmanager
    def piped(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A git that is asked and answers through its pipes. It is killed when the block ends."""
        started = self._start(arguments, stdin=subprocess.PIPE)
        errors = Reader(started.proc.stderr, COMPLAINT, keep_last=True)  # so that it never waits for a reader
        try:
            yield started.proc
        finally:
            end(started.proc, errors)

    def _start(self, arguments: tuple[str, ...], stdin: int | None) -> Any:
        """GitPython's handle: it kills the process when nothing refers to it any more."""
        options = [part for name, held in self._options().items() for part in ("-c", f"{name}={held}")]
        if self._credentials.token and self._credentials.realm:  # a proxy that asks gets nothing
            options += ["-c", f"credential.{self._credentials.realm}.helper={_HELPER}"]
        command = [program(), f"--git-dir={self._folder}", "--literal-pathspecs", *options, *arguments]
        with _starting, _without_git_variables() as passed_on:
            started = _gitpython().execute(
                command,
                as_process=True,
                istream=stdin,
                env={**passed_on, **self._environment()},
                shell=False,
                **_OWN_GROUP,
            )
        started.proc.group = system.Group(started.proc)
        _bound_memory(started.proc.pid)  # guard: git has a bound of memory
        return started

    def _options(self) -> dict[str, str]:
        """A signature of a kind for which the operator named no keys is judged by `false`: it never holds."""
        gpg = {} if self._credentials.gnupg else {"gpg.program": "false"}
        signers = self._credentials.allowed_signers
        transports = {} if self._protocols else {"protocol.allow": "never"}
        return OPTIONS | transports | gpg | ({"gpg.ssh.allowedSignersFile": signers} if signers else {})

    def _environment(self) -> dict[str, str]:
        nowhere = dict.fromkeys(("HOME", "USERPROFILE", "XDG_CONFIG_HOME"), os.devnull)
        known = {
            "GIT_ALLOW_PROTOCOL": self._protocols,
            "GIT_SSH_COMMAND": ssh_command(self._credentials),
            "GNUPGHOME": self._credentials.gnupg or os.devnull,
            "RECONCILER_USER": self._credentials.user,
            "RECONCILER_TOKEN": self._credentials.token,
        }
        return {**ENVIRONMENT, **nowhere, **known}

    def _clean(self, stderr: bytes) -> str:
        """The last line that names an error, fit to be shown."""
        lines = stderr.decode("utf-8", "replace").splitlines()
        errors = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
        last = next((line for line in reversed(errors) if line.strip()), "")
        token = self._credentials.token
        return printable((last.replace(token, "***") if token else last).strip()[:300])


def ssh_command(credentials: Credentials) -> str:
    """git gives this line to a shell."""
    parts = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    parts += ["-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"]
    parts += ["-o", "ForwardAgent=no", "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no"]
    if credentials.ssh_key:
        parts += ["-o", "IdentitiesOnly=yes", "-o", f"IdentityFile={_ssh_path(credentials.ssh_key)}"]
    if credentials.known_hosts:
        parts += ["-o", f"UserKnownHostsFile={_ssh_path(credentials.known_hosts)}", "-o", "GlobalKnownHostsFile=none"]
    return shlex.join(parts)


def _ssh_path(path: str) -> str:
    """As a value of an option: else a space would end it, and a percent sign begin a name of ssh's."""
    plain = path.replace("\\", "/" if os.name == "nt" else "\\\\")
    return '"' + plain.replace('"', '\\"').replace("%", "%%") + '"'


def program() -> str:
    """The whole path of git. Only absolute folders of PATH count: the current one may be a stranger's checkout."""
    name = "git.exe" if os.name == "nt" else "git"
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, name)
        if os.path.isabs(folder) and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise PermanentError("git cannot be found", hint="install git", code="GitMissing")


def version() -> str:
    """As git reports it: `git version 2.39.5`."""
    return GitRunner(os.devnull, protocols="").text("version", seconds=10.0)


def _bound_memory(pid: int) -> None:
    """Some hundred bytes of deltas stand for a terabyte, and git holds in memory what they expand to. What it starts
    later is bound too. Only Linux lets a process be bound from outside."""
    if sys.platform == "linux":
        from resource import RLIMIT_DATA, prlimit

        with contextlib.suppress(OSError):  # it has ended already
            prlimit(pid, RLIMIT_DATA, (MEMORY, MEMORY))


@cache
def _gitpython() -> Any:
    """Imported at the first use, because GitPython runs git when it is imported and fails without one."""
    os.environ["GIT_PYTHON_GIT_EXECUTABLE"] = program()
    try:
        from git.cmd import Git
    except ImportError as error:
        message = f"git cannot be run: {error}".splitlines()[0]
        raise PermanentError(message, hint="install git", code="GitMissing") from None
    finally:
        del os.environ["GIT_PYTHON_GIT_EXECUTABLE"]
    return Git()


@contextlib.contextmanager
def _without_git_variables() -> Iterator[dict[str, str]]:
    """GitPython copies our environment. Set from outside, GIT_DIR, GIT_CONFIG_COUNT or GIT_TRACE would rule git; and
    unlike others they cannot be neutralised by an empty value."""
    held = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("GIT_")}
    try:
        yield {name: held[name] for name in _PASSED_ON if name in held}
    finally:
        os.environ.update(held)
