"""A converter that tries to get out. What it tries is the `algorithm` of the recipe, and what at is the `target`.
Whether it succeeded it says in its log, and then it delivers an artifact as if nothing had been."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from reconciler.conversion.order import Order
from reconciler.conversion.worker.main import ConversionWorker

ESCAPED, HELD = "it escaped:", "it is held:"
GRANDCHILD_SECONDS = "98765"
HANGS = 600  # seconds; longer than anybody waits
ANSWER = 30  # seconds for a server that answers


def try_to_escape(order: Order) -> None:
    attempt, target = str(order.recipe.options["algorithm"]), str(order.recipe.options["target"])
    os.makedirs(order.output)
    for name in ("model.onnx", "genai_config.json"):
        with open(os.path.join(order.output, name), "w") as file:
            file.write("x")
    try:
        print(ESCAPED, ATTEMPTS[attempt](target, order))
    except (OSError, subprocess.SubprocessError) as error:
        print(HELD, repr(error))


def connect_tcp(target: str, order: Order) -> str:
    with socket.create_connection(("127.0.0.1", int(target)), timeout=ANSWER) as one:
        return str(one.recv(10))


def send_udp(target: str, order: Order) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(ANSWER)
        one.connect(("127.0.0.1", int(target)))
        one.send(b"hello")
        return str(one.recv(10))


def connect_unix(target: str, order: Order) -> str:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(ANSWER)
        one.connect("\0" + target.removeprefix("@") if target.startswith("@") else target)
        return str(one.recv(10))


def read(target: str, order: Order) -> str:
    with open(target) as file:
        return file.read()


def find_a_secret(target: str, order: Order) -> str:
    """In what this process and the worker were given. What is found is not printed: it would be in the log, and
    the target is written backwards, because an order stands in arguments."""
    given = list(os.environ.values())
    for number in (os.getpid(), os.getppid()):
        with open(f"/proc/{number}/environ", "rb") as file:
            given.append(file.read().decode(errors="replace"))
    if not any(target[::-1] in one for one in given):
        raise PermissionError("nobody gave us one")
    return "found one"


def listing(target: str, order: Order) -> str:
    return str(os.listdir(target))


def write(target: str, order: Order) -> str:
    with open(os.path.join(target, "planted"), "w") as file:
        return str(file.write("x"))


def append(target: str, order: Order) -> str:
    with open(target, "ab"):
        return "opened for writing"


def remove(target: str, order: Order) -> str:
    os.remove(target)
    return "removed"


def kill(target: str, order: Order) -> str:
    os.kill(int(target), signal.SIGKILL)
    return "killed"


def kill_the_worker(target: str, order: Order) -> str:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(HANGS)
    return "killed"


def attach_to_the_worker(target: str, order: Order) -> str:
    library = ctypes.CDLL(None, use_errno=True)
    if library.ptrace(16, os.getppid(), None, None) < 0:  # PTRACE_ATTACH
        raise OSError(ctypes.get_errno(), "ptrace")
    return "attached"


def read_the_worker(target: str, order: Order) -> str:
    with open(f"/proc/{os.getppid()}/mem", "rb") as file:
        return str(file.fileno())


def make_a_device(target: str, order: Order) -> str:
    os.mknod(os.path.join(order.scratch, "sda"), 0o600 | 0o060000, os.makedev(8, 0))
    return "made"


def keep_pipes(target: str, order: Order) -> str:
    """Whose replies could be forged?"""
    led_to = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if int(number) > 2]
    pipes = [one for one in led_to if one.startswith("pipe:")]
    if len(pipes) <= 1:  # our own answer
        raise OSError("only its own")
    return str(led_to)


def gain_privileges(target: str, order: Order) -> str:
    status = dict(line.split(":\t", 1) for line in read("/proc/self/status", order).splitlines() if ":\t" in line)
    held = int(status["CapEff"], 16) & ~(1 << 2)  # what lets root read
    if held == 0 and status["NoNewPrivs"] == "1" and int(status["CapPrm"], 16) & ~(1 << 2) == 0:
        raise OSError("none")
    return str(status)


def leave_a_daemon(target: str, order: Order) -> str:
    subprocess.Popen(["sleep", GRANDCHILD_SECONDS + target], start_new_session=True)
    return "started"


def leave_a_daemon_and_hang(target: str, order: Order) -> str:
    if os.fork() == 0:  # twice: the one between is gone at once, and nobody knows the daemon
        leave_a_daemon(target, order)
        os._exit(0)
    time.sleep(HANGS)
    return "waited"


def multiply(target: str, order: Order) -> str:
    for _ in range(300):
        if os.fork() == 0:
            os.setsid()
            time.sleep(HANGS)
        time.sleep(0.004)
    time.sleep(HANGS)
    return "300"


def balloon(target: str, order: Order) -> str:
    held = [b"x" * (1 << 20) for _ in range(4096)]
    time.sleep(HANGS)
    return str(len(held))


def one_long_file(target: str, order: Order) -> str:
    with open(os.path.join(order.scratch, "long"), "wb") as file:
        for _ in range(4096):
            file.write(b"x" * (1 << 20))
    return "4 GiB"


def one_sparse_file(target: str, order: Order) -> str:
    with open(os.path.join(order.scratch, "sparse"), "wb") as file:
        file.truncate(1 << 40)
    return "1 TiB"


def many_files(target: str, order: Order) -> str:
    for number in range(400):
        with open(os.path.join(order.scratch, str(number)), "wb") as file:
            file.write(b"x" * (1 << 20))
        time.sleep(0.01)
    time.sleep(HANGS)
    return "400 MiB"


def link_as_model(target: str, order: Order) -> str:
    os.remove(os.path.join(order.output, "model.onnx"))
    os.symlink(target, os.path.join(order.output, "model.onnx"))
    return "made"


def hard_link_as_model(target: str, order: Order) -> str:
    os.link(os.path.join(order.output, "model.onnx"), os.path.join(order.scratch, "mine"))
    return "made"


def pipe_as_settings(target: str, order: Order) -> str:
    os.remove(os.path.join(order.output, "genai_config.json"))
    os.mkfifo(os.path.join(order.output, "genai_config.json"))
    return "made"


def link_as_result(target: str, order: Order) -> str:
    os.rename(order.output, order.output + " aside")
    os.symlink(order.output + " aside", order.output)
    return "made"


def extra_file(target: str, order: Order) -> str:
    with open(os.path.join(order.output, target), "w"):
        return "made"


ATTEMPTS: dict[str, Callable[[str, Order], str]] = {
    one.__name__: one
    for one in (
        connect_tcp, send_udp, connect_unix, read, listing, write, append, remove, kill, kill_the_worker,
        attach_to_the_worker, read_the_worker, make_a_device, keep_pipes, gain_privileges, leave_a_daemon,
        leave_a_daemon_and_hang, multiply, balloon, one_long_file, one_sparse_file, many_files, link_as_model,
        hard_link_as_model, pipe_as_settings, link_as_result, extra_file, find_a_secret,
    )
}  # fmt: skip

if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    ConversionWorker(try_to_escape, needs_tools=False).serve()
