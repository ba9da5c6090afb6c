"""Real child processes: what they may do to each other and to us."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from reconciler.domain.errors import DiskFull
from reconciler.host.child import Child, ChildDied, ChildFailed, ChildTimedOut
from reconciler.host.child_side import LINE_LIMIT
from reconciler.host.environment import private_environment
from tests.posix import ON_WINDOWS
from tests.waiting import PATIENCE, is_alive, wait_for

CHECKOUT = str(Path(__file__).parents[2])
Start = Callable[..., Child]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    home = tmp_path / "ein Zuhause für ünïcode"
    home.mkdir()
    children: list[Child] = []

    def start(module: str = "tests.host.child_worker") -> Child:
        environment = private_environment(str(home), PYTHONPATH=CHECKOUT)
        log = str(tmp_path / "attempt.log")
        children.append(Child(module=module, environment=environment, log=log, directory=str(home)))
        return children[-1]

    yield start
    for child in children:
        child.close()


def test_a_call_returns_what_the_handler_returns_and_events_come_first(start: Start) -> None:
    events: list[dict[str, object]] = []
    reply = start().call("echo", {"text": "zwölf\n", "events": 3}, timeout=PATIENCE, on_event=events.append)
    assert reply == {"text": "zwölf\n", "events": 3}
    assert events == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_one_child_answers_many_calls(start: Start) -> None:
    child = start()
    assert [child.call("echo", {"n": n}, timeout=PATIENCE)["n"] for n in range(50)] == list(range(50))


def test_what_the_child_prints_never_reaches_the_replies(start: Start, tmp_path: Path) -> None:
    child = start()
    assert child.call("chatter", {}, timeout=PATIENCE) == {"asked": ""}
    assert child.call("echo", {"n": 1}, timeout=PATIENCE) == {"n": 1}
    child.close()
    log = (tmp_path / "attempt.log").read_text()
    for line in ("from print", "from the descriptor", "from native code", "from a grandchild"):
        assert line in log


def test_a_child_knows_nothing_but_what_it_was_given(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary")
    seen = start().call("surroundings", {}, timeout=PATIENCE)
    assert "canary" not in str(seen["environment"])
    assert seen["environment"]["HOME"] == seen["directory"]
    assert seen["environment"]["CI"] == "1"
    assert "RECONCILER_PARENT" not in seen["environment"]
    assert seen["group"] != (os.getpid() if ON_WINDOWS else os.getpgrp())


def test_nothing_in_the_working_directory_is_imported(start: Start) -> None:
    seen = start().call("surroundings", {}, timeout=PATIENCE)
    assert not {"", seen["directory"]} & set(seen["path"])


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [("ours", DiskFull.code, "no room"), ("theirs", "KeyError", "'missing'"), ("exit", "SystemExit", "gone")],
)
def test_a_failing_handler_says_why_and_the_child_lives_on(start: Start, how: str, kind: str, message: str) -> None:
    child = start()
    with pytest.raises(ChildFailed) as failure:
        child.call("fail", {"how": how}, timeout=PATIENCE)
    assert (failure.value.kind, failure.value.message) == (kind, message)
    assert child.call("echo", {}, timeout=PATIENCE) == {}


def test_a_reply_that_cannot_be_written_is_a_failure_of_the_call(start: Start) -> None:
    child = start()
    with pytest.raises(ChildFailed, match="object is not JSON"):
        child.call("unspeakable", {}, timeout=PATIENCE)
    with pytest.raises(ChildFailed, match="longer than"):
        child.call("long_reply", {"length": LINE_LIMIT}, timeout=PATIENCE)
    assert len(child.call("long_reply", {"length": 5 << 20}, timeout=PATIENCE)["text"]) == 5 << 20


def test_a_crash_names_the_signal_and_the_last_words(start: Start) -> None:
    child = start()
    with pytest.raises(ChildDied) as death:
        child.call("abort", {}, timeout=PATIENCE)
    ending = "ended with exit code 3" if ON_WINDOWS else "killed by signal SIGABRT"
    assert ending in str(death.value)
    assert "the last words" in str(death.value)
    assert "attempt.log" in death.value.hint
    with pytest.raises(ChildDied, match=ending):
        child.call("echo", {}, timeout=PATIENCE)


def test_an_exit_in_the_middle_of_a_call_names_the_code(start: Start) -> None:
    with pytest.raises(ChildDied, match="ended with exit code 7"):
        start().call("leave", {}, timeout=PATIENCE)


def test_a_module_that_cannot_run_shows_it_in_the_first_call(start: Start) -> None:
    with pytest.raises(ChildDied, match="No module named"):
        start("tests.host.nowhere").call("echo", {}, timeout=PATIENCE)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has networks to leave")
def test_a_worker_that_leaves_the_network_too_late_says_so_first(start: Start) -> None:
    with pytest.raises(ChildDied) as death:
        start("tests.host.late_worker").call("prepare", {}, timeout=PATIENCE)
    first = str(death.value).splitlines()[0]
    assert "exit code 1: RuntimeError: the network must be left before the first thread, and 2 " in first


@pytest.mark.parametrize("ends_first", [False, True])
def test_a_module_that_speaks_another_language_is_ended(start: Start, ends_first: bool) -> None:
    child = start("this")
    if ends_first:  # then the call cannot be sent
        if ON_WINDOWS:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(child.pid).wait(PATIENCE)
        else:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ChildDied, match="is no reply"):
        child.call("echo", {}, timeout=PATIENCE)


def test_a_time_limit_ends_the_child_and_all_it_started(start: Start) -> None:
    child = start()
    grandchild = child.call("leave_grandchild", {}, timeout=PATIENCE)["grandchild"]
    began = time.monotonic()
    with pytest.raises(ChildTimedOut, match="no answer to hang within 1 s"):
        child.call("hang", {}, timeout=1)
    assert time.monotonic() - began < PATIENCE  # it hangs for ten minutes
    assert _is_gone(child.pid)
    assert _is_gone(grandchild)


def test_kill_from_another_thread_ends_a_call(start: Start) -> None:
    child = start()
    threading.Timer(0.5, child.kill).start()
    with pytest.raises(ChildDied, match="stopped by us"):
        child.call("hang", {}, timeout=600)
    assert _is_gone(child.pid)


def test_an_interrupted_call_ends_the_child_so_that_no_late_reply_answers_the_next(start: Start) -> None:
    child = start()

    def interrupt(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child.call("echo", {"events": 1}, timeout=PATIENCE, on_event=interrupt)
    with pytest.raises(ChildDied, match="stopped by us"):
        child.call("echo", {}, timeout=PATIENCE)


def test_close_ends_what_the_child_left_behind_and_may_be_called_twice(start: Start) -> None:
    child = start()
    grandchild = child.call("leave_grandchild", {}, timeout=PATIENCE)["grandchild"]
    child.close()
    child.close()
    child.kill()
    assert _is_gone(child.pid)
    assert _is_gone(grandchild)


def test_a_child_outlives_the_thread_that_started_it(start: Start) -> None:
    children: list[Child] = []

    def begin() -> None:
        children.append(start())
        children[0].call("echo", {}, timeout=PATIENCE)  # now it has asked for the signal

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert children[0].call("echo", {"n": 1}, timeout=PATIENCE) == {"n": 1}


def test_a_busy_child_to_which_nobody_listens_ends_at_once(start: Start) -> None:
    child, began = start(), threading.Event()

    def call() -> None:
        with pytest.raises(ChildDied):
            child.call("hang", {}, timeout=600, on_event=lambda event: began.set())

    caller = threading.Thread(target=call)
    caller.start()
    assert began.wait(PATIENCE)
    since = time.monotonic()
    child.close(timeout=600)
    caller.join()
    assert time.monotonic() - since < PATIENCE


_PARENT = """
import sys
from reconciler.host.child import Child
from reconciler.host.environment import private_environment
environment = private_environment({home!r}, PYTHONPATH={checkout!r})
child = Child(module="tests.host.child_worker", environment=environment, log={log!r}, directory={home!r})
def tell(event):
    print(child.pid, *event.values(), flush=True)
child.call({method!r}, {{}}, timeout=600, on_event=tell)
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="PR_SET_PDEATHSIG is Linux's own, and job objects Windows'")
@pytest.mark.parametrize("method", ["hang", "hold_the_interpreter"])
def test_a_killed_parent_takes_a_busy_child_with_it(tmp_path: Path, method: str) -> None:
    program = _PARENT.format(home=str(tmp_path), checkout=CHECKOUT, log=str(tmp_path / "log"), method=method)
    command, environment = [sys.executable, "-c", program], {**os.environ, "PYTHONPATH": CHECKOUT}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child, begun = map(int, parent.stdout.readline().split())
        parent.kill()
    assert _is_gone(child)
    if ON_WINDOWS:
        assert _is_gone(begun)
    elif begun != child:  # the signal reaches the child only: a known limit, see host.child_side
        with contextlib.suppress(ProcessLookupError):
            os.kill(begun, signal.SIGKILL)


def _is_gone(pid: int) -> bool:
    """Within a moment: a killed process that nobody waits for is first a zombie."""
    if wait_for(lambda: not is_alive(pid)):
        return True
    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).kill()
    return False
