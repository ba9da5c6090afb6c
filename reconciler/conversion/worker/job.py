"""One conversion, in the process that does it: stage the source, run Olive, check the result, move it out.

Olive's exit code is not trusted. It logs and swallows most exceptions and then reports success (without a model, or
with one made of random numbers where a tensor was missing). So the cause is taken from its log, the source is checked
before, and the result after.
"""

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from typing import Any

from reconciler.conversion.order import ARTIFACT_FILES, Order
from reconciler.conversion.precisions import HALVE, olive_config, passes_of
from reconciler.conversion.worker import checks, staging
from reconciler.conversion.worker.adapter import check_adapter
from reconciler.conversion.worker.lean_halving import lean_halving
from reconciler.conversion.worker.lean_olive import lean
from reconciler.conversion.worker.taken_over import take_over
from reconciler.domain.errors import ConversionFailed, DiskFull, ReconcilerError, refused

# A failure with less than this left is taken for a full disk: Olive names other causes then, or none.
_NEARLY_FULL = 4 << 20


def convert(order: Order) -> None:
    """Leaves the artifact's files in `order.output`, or raises and leaves nothing there."""
    try:
        _convert(order)
    except Exception as error:
        shutil.rmtree(order.output, ignore_errors=True)
        if isinstance(error, ReconcilerError) and not _is_full(order.scratch):
            raise
        if any(_says_full(cause) for cause in _causes(error)) or _is_full(order.scratch):
            raise DiskFull(f"the disk was full while converting in {order.scratch}") from error
        # What the system refused is repaired without a change to the recipe, so it is no ConversionFailed.
        refusals = (refused(cause) for cause in _causes(error) if isinstance(cause, OSError))
        raise next(filter(None, refusals), ConversionFailed(in_one_line(error))) from error


def _convert(order: Order) -> None:
    model, adapter = (os.path.join(order.scratch, name) for name in ("model", "adapter"))
    staged = [staging.stage_source(order.source, model, order.recipe.source, order.digests)]
    if order.adapter is not None and order.recipe.adapter is not None:
        staged.append(staging.stage_adapter(order.adapter, adapter, model, order.recipe.adapter, order.digests))
        check_adapter(model, adapter)
    checks.check_weights(model, [path for one in staged for path in one.weights])
    output, cache = (os.path.join(order.scratch, name) for name in ("output", "cache"))
    halving = lean_halving() if HALVE in passes_of(order.recipe) else nullcontext()
    with _working_in(order.scratch), lean(), halving:
        run_olive(olive_config(order.recipe, model, output, cache, adapter))
    take_over(model, output)
    checks.check_artifact(output, order.recipe)
    for one in staged:
        staging.check_unchanged(one)
    os.makedirs(order.output)
    for name in ARTIFACT_FILES:
        if os.path.exists(os.path.join(output, name)):
            shutil.move(os.path.join(output, name), os.path.join(order.output, name))


def run_olive(config: dict[str, Any]) -> None:
    """Raises the exception that Olive swallowed."""
    import olive.workflows

    listener = _Listener(logging.INFO)
    logging.getLogger("olive").addHandler(listener)
    try:
        result = olive.workflows.run(config)
    finally:
        logging.getLogger("olive").removeHandler(listener)
    if result is None or not result.has_output_model():
        raise listener.swallowed or ConversionFailed("Olive produced no model and named no cause")


class _Listener(logging.Handler):
    """Keeps the last exception that was logged."""

    swallowed: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.swallowed = record.exc_info[1]


@contextmanager
def _working_in(scratch: str) -> Iterator[None]:
    """Olive writes beside its working directory, and takes any option for a path that exists there. It also writes to
    the hub's cache, whose path the worker read before there was a job."""
    from olive.passes.onnx import model_builder

    for name in ("tmp", "cwd", "hub"):
        os.makedirs(os.path.join(scratch, name))
    usual, tempfile.tempdir = tempfile.tempdir, os.path.join(scratch, "tmp")
    usual_hub, model_builder.HF_HUB_CACHE = model_builder.HF_HUB_CACHE, os.path.join(scratch, "hub")
    try:
        with chdir(os.path.join(scratch, "cwd")):
            yield
    finally:
        tempfile.tempdir, model_builder.HF_HUB_CACHE = usual, usual_hub


def in_one_line(error: BaseException) -> str:
    """The innermost cause."""
    cause = next(_causes(error))
    first_line = (str(cause).strip().splitlines() or [""])[0]
    return f"{type(cause).__name__}: {first_line}"[:500] if first_line else type(cause).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """From the innermost outwards."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return reversed(chain)


def _says_full(error: BaseException) -> bool:
    """Native code and shutil give the error as text only."""
    return getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)


def _is_full(folder: str) -> bool:
    return shutil.disk_usage(folder).free < _NEARLY_FULL
