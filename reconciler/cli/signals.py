"""How signals end a verb that works for long."""

import signal


def interrupt_on_signals() -> None:
    """SIGTERM, SIGHUP and Ctrl-Break end a pass as Ctrl-C does: child processes first, then exit code 130."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)
