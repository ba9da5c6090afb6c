"""A converter that does not do what it says. Which lie it tells is the `algorithm` of the recipe."""

import contextlib
import os
import signal
import sys
import tempfile
import time

from reconciler.conversion.order import Order
from reconciler.conversion.worker.main import ConversionWorker
from reconciler.domain.errors import DiskFull


class Liar(ConversionWorker):
    def _load_tools(self, order: Order) -> None:
        if order.recipe.options["algorithm"] == "load no package":
            miss_a_package(order)


def lie(order: Order) -> None:
    LIES[str(order.recipe.options["algorithm"])](order)


def leave(order: Order, *names: str) -> None:
    os.makedirs(order.output)
    for name in names:
        with open(os.path.join(order.output, name), "w") as file:
            file.write("x" if name != "empty" else "")


def leave_empty(order: Order) -> None:
    leave(order, "genai_config.json")
    open(os.path.join(order.output, "model.onnx"), "w").close()


def print_much(order: Order) -> None:
    for _ in range(50):
        os.write(1, b"x" * (1 << 20))
    leave(order, "model.onnx", "genai_config.json")


def print_endlessly(order: Order) -> None:
    while True:
        os.write(1, b"Reading layer 0\n" * 1000)


def die(order: Order) -> None:
    leave(order, "model.onnx")
    os.kill(os.getpid(), signal.SIGKILL)


def kill_the_worker(order: Order) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def raise_with_lines(order: Order) -> None:
    raise RuntimeError("the first line\nthe second line\n" + "x" * 100_000)


def raise_with_commands(order: Order) -> None:
    raise RuntimeError("a\x1b[2J tensor\x85::stop-commands::" + "x" * 100_000)


def miss_another_package(order: Order) -> None:
    raise ImportError("this quantization needs autoawq", name="autoawq")


def miss_a_package(order: Order) -> None:
    raise ModuleNotFoundError("No module named 'olive'", name="olive")


def fill_the_disk(order: Order) -> None:
    raise DiskFull("the disk was full")


def write_where_the_worker_did(order: Order) -> None:
    for folder in (tempfile.gettempdir(), os.environ["TORCHINDUCTOR_CACHE_DIR"]):
        assert folder.startswith(order.scratch), folder
    leave(order, "model.onnx", "genai_config.json")


def answer(data: bytes) -> None:
    """In place of the job: of its pipes, the one for its answer is the last."""
    pipes = [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]
    for pipe in sorted(pipes, reverse=True):
        with contextlib.suppress(OSError):
            os.write(pipe, data)
            os._exit(0)


LIES = {
    "succeed": lambda order: leave(order, "model.onnx", "genai_config.json"),
    "leave nothing": lambda order: None,
    "leave it empty": leave_empty,
    "leave a part": lambda order: leave(order, "model.onnx"),
    "hang": lambda order: time.sleep(1000),
    "die": die,
    "answer 5": lambda order: answer(b"5"),
    "answer a list": lambda order: answer(b"[]"),
    "answer an error of 5": lambda order: answer(b'{"error": 5}'),
    "answer a code of commands": lambda order: answer(b'{"error": {"code": "\\u001b[2J", "message": "it failed"}}'),
    "exit": lambda order: os._exit(0),
    "sys.exit": lambda order: sys.exit(0),
    "raise": raise_with_lines,
    "raise commands": raise_with_commands,
    "miss a package": miss_a_package,
    "miss a package of the model's": miss_another_package,
    "full disk": fill_the_disk,
    "print 50 MB": print_much,
    "print endlessly": print_endlessly,
    "remember a folder": write_where_the_worker_did,
    "kill the worker": kill_the_worker,
}

if __name__ == "__main__":
    tempfile.gettempdir()
    Liar(lie, needs_tools=False).serve()
