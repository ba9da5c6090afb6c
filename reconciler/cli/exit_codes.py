"""The exit codes of each verb and their meanings, as `--help` and docs/reference.md show them."""

OK = 0
ERROR = 1
DIFFERS = 1
TROUBLE = 2
CHANGES = 2
PENDING = 2
PARTLY = 3
DRIFTED = 4
LOCK_HELD = 11
USAGE = 64
INTERRUPTED = 130

_LOCKED = {LOCK_HELD: "another reconciler holds the lock"}
_SUSPENDING = {LOCK_HELD: "another process is suspending or resuming"}
_ANY = {USAGE: "wrong usage", INTERRUPTED: "interrupted"}

CODES: dict[str, dict[int, str]] = {
    "validate": {OK: "every manifest is valid", ERROR: "at least one problem"},
    "lock": {OK: "the lock file is what the manifests need", ERROR: "error; with --check: it is not what they need"},
    "plan": {
        OK: "a plan was made; with --detailed-exitcode: nothing to do",
        ERROR: "error",
        CHANGES: "with --detailed-exitcode: there are changes, or some that are held back",
    },
    "diff": {OK: "the same", DIFFERS: "they differ", TROUBLE: "error, or problems in the manifests of HEAD"},
    "apply": {
        OK: "converged: the machine serves what git declares",
        ERROR: "error: nothing was tried",
        PARTLY: "partly: something failed, was rejected or is held",
        **_LOCKED,
    },
    "run": {
        OK: "stopped by SIGTERM; on Windows by Ctrl-Break or a shutdown",
        ERROR: "error: it could not start",
        **_LOCKED,
    },
    "build": {
        OK: "every registry has what the manifests want",
        ERROR: "error: nothing was tried, or a registry could not be asked",
        PARTLY: "partly: something failed, was rejected or is held",
        **_LOCKED,
    },
    "export": {
        OK: "written: it has all that the machine lacks",
        ERROR: "error: nothing was written, or not all of it (the next export goes on)",
        PARTLY: "partly: written, but something is left out, or there are problems in the manifests",
        LOCK_HELD: "another export from this root is going on",
    },
    "import": {
        OK: "taken in, and the machine serves what its manifests declare; with --no-apply: taken in",
        ERROR: "error: the file was refused, or could not be taken in",
        PARTLY: "partly: taken in, and something failed, was rejected or is held",
        **_LOCKED,
    },
    "fleet": {
        OK: "shown",
        ERROR: "error: the reports, the keys or the repository cannot be read",
        PARTLY: "with --exit-code: a machine is not ready, silent or doubted, or a report does not count",
    },
    "status": {OK: "shown", ERROR: "error", INTERRUPTED: "interrupted; --watch ends so"},
    "ask": {OK: "answered", ERROR: "not served, or the runtime refused"},
    "bench": {
        OK: "measured",
        ERROR: "nothing could be measured: not declared, not converted here, or the runtime refused",
        PARTLY: "some variants could not be measured",
        INTERRUPTED: "interrupted; what was measured until then is shown",
    },
    "explain": {OK: "explained", ERROR: "not declared, or its source is invalid"},
    "bom": {OK: "written, also where something is missing in it", ERROR: "not declared, or its source is invalid"},
    "history": {OK: "shown", ERROR: "there is no history of that name, its record is damaged, or another error"},
    "events": {OK: "shown", ERROR: "error", INTERRUPTED: "interrupted; --follow ends so"},
    "drift": {
        OK: "no drift: the machine is what git declares",
        ERROR: "error, or something could not be compared",
        PENDING: "pending only: git is ahead of the machine",
        DRIFTED: "drifted only: something else changed the machine",
        PENDING | DRIFTED: "both",
    },
    "verify": {OK: "everything is as it must be", ERROR: "at least one finding, or an error"},
    "gc": {
        OK: "everything unneeded is freed; with --dry-run: shown",
        ERROR: "error: nothing was tried",
        PARTLY: "partly: something could not be freed, or a problem in the manifests prevents it",
        **_LOCKED,
    },
    "doctor": {OK: "no errors (there may be warnings)", ERROR: "at least one error"},
    "inventory": {OK: "shown", ERROR: "error"},
    "rollout": {
        OK: "shown; or the change is committed, or printed",
        ERROR: "not declared, not valid, or another error",
    },
    "rollback": {
        OK: "done, or a daemon is about to do it; with --undo: git decides again",
        ERROR: "nothing to go back to, or another error",
        PARTLY: "a step failed: the present release still serves",
        LOCK_HELD: "another process is suspending or rolling back",
    },
    "suspend": {OK: "suspended", ERROR: "nothing here has that name, or another error", **_SUSPENDING},
    "resume": {OK: "resumed, or it was not suspended", ERROR: "error", **_SUSPENDING},
    "retry": {OK: "asked for, or nothing of that name has failed", ERROR: "error", **_SUSPENDING},
    "template": {OK: "written", ERROR: "there is no such template, or none that means exactly the same"},
    "schema": {OK: "printed", ERROR: "error"},
    "demo": {OK: "every step did what it promised", ERROR: "a step failed"},
}


def epilog(verb: str) -> str:
    rows = "\n".join(f"  {code:<4} {meaning}" for code, meaning in sorted((_ANY | CODES[verb]).items()))
    return f"exit codes:\n{rows}"
