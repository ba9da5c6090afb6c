"""The daemon's knowledge of itself: replaced whole, never changed."""

import time

from reconciler.daemon.state import Board, Moment, State, counted


def test_a_reader_keeps_the_state_it_has_read() -> None:
    board = Board(State(started=Moment.now(), interval=60.0))
    before = board.state
    board.update(ready=True, passes=counted(before.passes, "converged"))
    assert (before.ready, before.passes) == (False, {})
    assert (board.state.ready, board.state.passes) == (True, {"converged": 1})


def test_ages_do_not_follow_the_clock_of_the_wall() -> None:
    set_back = Moment(unix=time.time() + 315_360_000, ticks=time.monotonic() - 5.0)
    assert 5.0 <= set_back.age < 60.0
