"""`python guard.py VERB...`: the command line under a guard. The process ends at once with 99 when it uses the network,
writes, or starts anything but git and the renderer of chat templates. Its last line on stderr is its peak memory in
KiB and the CPU seconds that it and its children took."""

import os
import resource
import sys
from typing import Any

FORBIDDEN = (
    *("socket.", "shutil.", "tempfile.", "os.chmod", "os.chown", "os.exec", "os.fork", "os.link", "os.mkdir"),
    *("os.remove", "os.rename", "os.rmdir", "os.spawn", "os.symlink", "os.system", "os.truncate", "os.utime"),
    *("ctypes.dlopen", "sqlite3.connect", "webbrowser.open"),
)
# Under limits: no file, no socket.
RENDERER = [sys.executable, "-P", "-u", "-X", "utf8", "-m", "reconciler.templates.render_worker"]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def peak_kibibytes(told: int) -> int:
    """Linux tells of a child no less than what its parent had when it forked: there /proc is asked."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    except OSError:
        return told // (1024 if sys.platform == "darwin" else 1)


def refused(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        return isinstance(path, (str, bytes)) and path != os.devnull and bool(flags & WRITING)
    if event in ("subprocess.Popen", "os.posix_spawn"):
        if list(arguments[1]) == RENDERER:
            return False
        return os.path.basename(os.fsdecode(arguments[0])) not in ("git", "git.exe")
    if event == "ctypes.dlopen" and arguments == (None,):
        return False  # plain `import ctypes` opens the process itself; that loads no library
    return event.startswith(FORBIDDEN)


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if refused(event, arguments):
        os.write(2, f"refused: {event} {arguments!r}\n".encode())
        os._exit(99)


def main() -> int:
    sys.dont_write_bytecode = True
    if "tests.forked_child" in sys.modules:
        sys.modules["tests.forked_child"].fork_nothing()
    sys.addaudithook(watch)
    from reconciler.cli.main import main as reconciler

    try:
        return reconciler(sys.argv[1:])
    finally:
        sys.stdout.flush()
        used, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        seconds = used.ru_utime + used.ru_stime + children.ru_utime + children.ru_stime
        sys.stderr.write(f"\n{peak_kibibytes(used.ru_maxrss)} {seconds:.3f}\n")


if __name__ == "__main__":
    sys.exit(main())
