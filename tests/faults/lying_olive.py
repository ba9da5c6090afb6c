"""The real converter's worker around an Olive that lies. Which lie it tells is in the source: `lie` in its
generation_config.json. What it leaves when it tells none is a whole artifact, of one small matrix."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reconciler.conversion.order import Order
from reconciler.conversion.worker.main import ConversionWorker, work

ROWS, COLUMNS = 64, 32
FLOOD = 64  # MiB
DATA = "model.onnx.data"
GENAI = {
    "model": {"type": "qwen2", "context_length": 4096, "vocab_size": 32, "decoder": {"filename": "model.onnx"}},
    "search": {},
}


def run(config: dict[str, Any]) -> SimpleNamespace:
    """As `olive.workflows.run`, which tells success whatever it left."""
    source, output = Path(config["input_model"]["model_path"]), Path(config["output_dir"])
    output.mkdir(parents=True)
    whole(output)
    LIES[json.loads((source / "generation_config.json").read_text()).get("lie", "none")](output)
    return SimpleNamespace(has_output_model=lambda: True)


def whole(output: Path, *, value: float = 0.5, rows: int = ROWS) -> None:
    import numpy  # here, in the job: it starts threads, and the worker leaves the network before the first
    import onnx
    from onnx import TensorProto, helper
    from onnx.external_data_helper import set_external_data

    weights = numpy.full((ROWS, COLUMNS), value, dtype=numpy.float32).tobytes()
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, COLUMNS], raw_data=weights)
    set_external_data(tensor, DATA, offset=0, length=len(weights))
    tensor.ClearField("raw_data")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, ROWS])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, COLUMNS])],
        [tensor],
    )
    onnx.save(helper.make_model(graph), str(output / "model.onnx"))
    (output / DATA).write_bytes(weights)
    for name, document in (("genai_config", GENAI), ("tokenizer", {}), ("tokenizer_config", {})):
        (output / f"{name}.json").write_text(json.dumps(document))


def cut(output: Path) -> None:
    os.truncate(output / DATA, ROWS * COLUMNS * 2)


def grow(output: Path) -> None:
    """Slowly enough for whoever watches, and then for ever."""
    held = []
    for _ in range(2048):
        held.append(b"x" * (1 << 20))
        time.sleep(0.005)
    time.sleep(600)


def multiply(output: Path) -> None:
    for _ in range(200):
        subprocess.Popen(["sleep", "600"])
        time.sleep(0.01)
    time.sleep(600)


def leave_a_daemon(output: Path) -> None:
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    (output / "model.onnx").unlink()


def flood(output: Path) -> None:
    for _ in range(FLOOD):
        os.write(1, b"Reading layer 0\n" * (1 << 16))
    (output / "model.onnx").unlink()


def refuse(name: str) -> Callable[[Path], None]:
    def lie(output: Path) -> None:
        import errno

        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)), str(output))

    return lie


def link(output: Path) -> None:
    (output / "aside").write_bytes((output / DATA).read_bytes())
    (output / DATA).unlink()
    (output / DATA).symlink_to("aside")


LIES: dict[str, Callable[[Path], None]] = {
    "none": lambda output: None,
    "no model": lambda output: (output / "model.onnx").unlink(),
    "no weights": lambda output: (output / DATA).unlink(),
    "empty weights": lambda output: os.truncate(output / DATA, 0),
    "cut weights": cut,
    "NaN": lambda output: whole(output, value=float("nan")),
    "infinity": lambda output: whole(output, value=float("inf")),
    "another shape": lambda output: whole(output, rows=ROWS * 2),
    "garbage": lambda output: (output / "model.onnx").write_bytes(os.urandom(4096)) and None,
    "broken settings": lambda output: (output / "genai_config.json").write_text("{") and None,
    "a link": link,
    "killed": lambda output: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda output: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": lambda output: time.sleep(600),
    "memory": grow,
    "forks": multiply,
    "a daemon": leave_a_daemon,
    "flood": flood,
    "EIO": refuse("EIO"),
    "EROFS": refuse("EROFS"),
    "ENOSPC": refuse("ENOSPC"),
    "EACCES": refuse("EACCES"),
}


def lying_work(order: Order) -> dict[str, Any] | None:
    """The real job, in the process that the worker forks for it, with our Olive."""
    import olive.workflows

    olive.workflows.run = run
    return work(order)


if __name__ == "__main__":
    ConversionWorker(lying_work).serve()
