"""The parent's side of what a job gives: its words into the attempt's log, its result out of the cage.

Nothing that comes out is trusted. The log ends at a limit of our own, and of the result only plain files with the names
that an artifact is made of are taken: a link could lead anywhere, once we follow it.
"""

import base64
import errno
import os
import shutil
import stat
from contextlib import suppress
from typing import Any

from reconciler.conversion.artifact_files import ARTIFACT_FILES
from reconciler.conversion.order import Order
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.text.escape import one_line

LONGEST_LOG = (4 << 20) + (1 << 10)  # bytes; the worker ends it a little earlier, and says so


def write_down(state: dict[str, Any], log: str) -> None:
    """What the job has printed since the last time."""
    said = base64.b64decode(state.pop("output", ""))
    if said:
        with suppress(OSError), open(log, "ab") as file:  # a full disk: the conversion may yet succeed
            file.write(said[: max(0, LONGEST_LOG - file.tell())])


def take_result(order: Order, destination: str) -> None:
    """The result becomes `destination`, or ConversionFailed is raised."""
    for name in ("model.onnx", "genai_config.json"):
        path = os.path.join(order.output, name)
        if not os.path.lexists(path) or not os.lstat(path).st_size:
            raise ConversionFailed(f"the converter reported success and left no {name}")
    _refuse_what_is_no_artifact(order.output)
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    try:
        os.rename(order.output, destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(order.output, destination)


def _refuse_what_is_no_artifact(folder: str) -> None:
    if os.path.islink(folder):
        raise ConversionFailed("the converter left a link in place of its result")
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        status = entry.stat(follow_symlinks=False)
        if entry.name not in ARTIFACT_FILES:
            raise ConversionFailed(f"the converter left {one_line(entry.name)}, which no artifact holds")
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise ConversionFailed(f"the converter left a {entry.name} that is no plain file of its own")
