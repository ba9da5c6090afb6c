"""The system refuses each single step of every durable change: what is left is the old state or the new one, the
refusal has a stable code, and doing it again ends in the new one. The scenarios are those of the crashes. `make test`
refuses each step twice, for a moment and for good, with each error in turn; at full size with every error."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.domain.errors import ReconcilerError, refused
from reconciler.domain.failures import RememberedFailure
from reconciler.domain.layout import Layout
from reconciler.host import durable
from reconciler.state.records import Records
from tests.domain.test_failures import failure
from tests.host import crash_scenarios
from tests.host.crash_scenarios import FILES, MENDED, OTHER_FILES, SCENARIOS, write_tree
from tests.host.test_crashes import store_is_whole, tree
from tests.trust import FULL, record

FAULTS = {"ENOSPC": "DiskFull", "EIO": "DiskFailing", "EROFS": "DiskReadOnly", "EACCES": "AccessDenied"}


@pytest.fixture
def refusing() -> Iterator[None]:
    yield
    durable._fail_at = durable.fault("0:EIO")


def act(scenario: str, root: Path, fault: str) -> str:
    """The code of what was refused, or ""."""
    durable._steps, durable._fail_at = 0, durable.fault(fault)
    try:
        SCENARIOS[scenario](str(root))
    except (ReconcilerError, OSError) as error:
        known = error if isinstance(error, ReconcilerError) else refused(error)
        return known.code if known is not None else repr(error)
    finally:
        durable._fail_at = durable.fault("0:EIO")
    return ""


def refusals_of(step: int) -> list[tuple[str, str]]:
    """Errors, and whether they last."""
    every = [*FAULTS]
    if FULL:
        return [(fault, lasting) for fault in every for lasting in ("", "+")]
    return [(every[step % 4], ""), (every[(step + 1) % 4], "+")]


def put_back(saved: Path, root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(saved, root)


def again(scenario: str, root: Path) -> None:
    """As the next pass does: what it needs is staged anew, what has its name is left, what nothing names goes."""
    for name, files in {"other": OTHER_FILES, "again": FILES, "folder": MENDED}.items():
        shutil.rmtree(root / "staging" / name, ignore_errors=True)
        write_tree(root / "staging" / name, files)
    if not (scenario == "publish" and (root / "served" / "capitals-int4" / "1").exists()):
        assert act(scenario, root, "0:EIO") == ""
    crash_scenarios.store(str(root)).sweep()


def names(root: Path) -> dict[str, bytes]:
    """What lies there for good; stamps are other ones in every copy."""
    found = tree(root)
    return {n: data for n, data in found.items() if n.split("/")[0] not in ("trash", "staging") and "stamps" not in n}


def compared(root: Path) -> dict[str, bytes]:
    """The owner's mark is drawn anew each time, and the timings grow with each attempt. Events tell their time, and one
    whose own line is refused is lost: no work waits for it."""
    counted = ("owner", "machine.json")
    return {
        n: (b"" if n.endswith(counted) else data)
        for n, data in names(root).items()
        if "damaged" not in n and not n.endswith("events.jsonl")
    }


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_any_step_may_be_refused(scenario: str, tmp_path: Path) -> None:
    saved, root = tmp_path / "saved", tmp_path / "root"
    crash_scenarios.prepare(saved)
    put_back(saved, root)
    assert act(scenario, root, "0:EIO") == ""
    steps = durable._steps
    again(scenario, root)
    wanted = compared(root)
    told = 0
    refusals = [(step, *one) for step in range(1, steps + 1) for one in refusals_of(step)]
    for step, fault, lasting in refusals:
        put_back(saved, root)
        said = act(scenario, root, f"{step}:{fault}{lasting}")
        assert said in ("", FAULTS[fault]), (step, fault, said)
        told += said == FAULTS[fault]
        assert not [n for n in names(root) if durable.is_temporary(Path(n).name)], (step, fault)
        store_is_whole(root)
        again(scenario, root)
        assert compared(root) == wanted, (step, fault, lasting)
    assert told >= len(refusals) / 2
    record("disk", f"{len(refusals)} refusals at {steps} steps", scenario, part=f"write-{scenario}")


@pytest.mark.usefixtures("refusing")
def test_a_failure_that_the_disk_does_not_take_is_remembered_by_the_process(tmp_path: Path) -> None:
    """`apply` on a read-only disk tried the same conversion again and again, for ever."""
    records = Records(Layout(str(tmp_path)))
    one: RememberedFailure = failure(permanent=False)
    durable._steps, durable._fail_at = 0, durable.fault("1:EROFS+")
    with pytest.raises((ReconcilerError, OSError)):
        records.save_failures((one,))
    assert records.failures() == (one,)
    assert records.load().failures == (one,)
    durable._fail_at = durable.fault("0:EIO")
    records.save_failures(records.failures())
    assert Records(Layout(str(tmp_path))).failures() == (one,)


@pytest.mark.usefixtures("refusing")
def test_what_cannot_be_deleted_keeps_nothing_else_in_the_trash(tmp_path: Path) -> None:
    trash = tmp_path / "trash"
    trash.mkdir()
    for name in ("1", "2", "3"):
        (trash / name).write_bytes(b"gone")
    durable._steps, durable._fail_at = 0, durable.fault("2:EACCES")
    with pytest.raises(PermissionError):
        durable.empty(str(trash))
    assert [path.name for path in trash.iterdir()] == ["2"]


def test_the_environment_chooses_the_step() -> None:
    assert durable.fault("3:ENOSPC+")[::2] == (3, True)
    assert durable.fault("12:EIO")[::2] == (12, False)
    assert json.dumps(durable._fail_at) == json.dumps(durable.fault("0:EIO"))
