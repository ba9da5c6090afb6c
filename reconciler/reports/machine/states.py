"""The state of a variant in one word (Ready, Converting 43 %, Drifted, Suspended until ...), with its tone, and the
commands that a person would type next. Reads the JSON view of `status` only. Pure."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from reconciler.domain.reasons import BY_FAILURE, BY_ORDER, PRUNE_GUARDS, WAITING, Reason
from reconciler.domain.recorded import Suspension
from reconciler.reports.status import condition_of
from reconciler.reports.text import Shown, action_word
from reconciler.reports.view import View

# What a page shows in a colour; the word says it too. The worst first.
TONES = ("bad", "wait", "busy", "held", "quiet", "good")

_WORKS = {"convert": "Converting", "take": "Taking", "fetch": "Downloading", "pull": "Pulling", "measure": "Measuring"}
_BUSY = frozenset({"Converting", "Taking", "Pulling", "Measuring", "Fetching", "ChangesLeft"})
_WAITS = {*WAITING, *BY_ORDER, Reason.AWAITING_BUILD, "NotServed"}
_KEPT = {*PRUNE_GUARDS, Reason.PROTECTED, Reason.ROLLED_BACK, Reason.SUSPENDED}
_WORDS = {str(Reason.DRIFT_DETECTED): "Drifted", "-": "Unknown"}
_REASONS = {str(one): one.text for one in Reason}


def state_of(variant: Shown, jobs: Sequence[Shown]) -> View:
    """`jobs` are those of this variant. `ready` is its condition, whatever is done beside; `fraction` is how far a job
    has come; `why` explains the reason."""
    ready, stalled = condition_of(variant, "Ready"), condition_of(variant, "Stalled")
    found: View = {"reason": ready["reason"], "message": ready["message"], "fraction": None}
    found["ready"] = ready["status"] == "True"
    if jobs:
        job = jobs[0]
        word = f"{_WORKS.get(action_word(job), action_word(job))} {100 * job['fraction']:.0f} %"
        found |= {"word": word, "tone": "busy", "fraction": job["fraction"], "message": job["text"] or ready["message"]}
    elif (held := _suspension(variant)) is not None:
        found |= held
    elif ready["status"] == "True":
        found |= {"word": "Ready", "tone": "good"}
        if stalled["status"] == "True":
            found |= {"tone": "wait", "reason": stalled["reason"], "message": stalled["message"]}
    else:
        found |= {"word": _word(ready, stalled), "tone": _tone(ready)}
    return found | {"why": _REASONS.get(str(found["reason"]), "")}


def _suspension(variant: Shown) -> View | None:
    """By `reconciler suspend`, or by the manifest."""
    given = variant["suspension"]
    if given is not None:
        until = "Suspended" + (f" until {given['until'][:16].replace('T', ' ')} UTC" if given["until"] else "")
        return {"word": until, "tone": "held", "reason": "Suspended", "message": str(Suspension(**given))}
    found = [one for one in variant["conditions"] if one["reason"] == Reason.SUSPENDED]
    if not found:
        return None
    would = next((one["message"] for one in found if one["message"]), "")
    message = "; ".join(part for part in ("by its manifest (suspend: true)", would) if part)
    return {"word": "Suspended", "tone": "held", "reason": "Suspended", "message": message}


def _word(ready: Shown, stalled: Shown) -> str:
    """A code of its own for what is known as a reason; what failed some other way is stalled, until it is tried
    again."""
    reason = str(ready["reason"])
    if stalled["status"] == "True" and reason not in _REASONS:
        return "Stalled"
    return _WORDS.get(reason, reason)


def _tone(ready: Shown) -> str:
    reason = ready["reason"]
    if ready["status"] == "Unknown":
        return "quiet"
    if reason in _BUSY:
        return "busy"
    return "wait" if reason in _WAITS else "held" if reason in _KEPT else "bad"


def commands_for(variant: Shown, state: Shown, releases: int) -> Iterator[View]:
    """What a person may type about it; nothing here does anything. `releases` is how many its history holds."""
    name, model = shlex.quote(variant["variant"]), shlex.quote(variant["model"] or variant["variant"])
    reason, suspension = state["reason"], variant["suspension"]
    if suspension is not None:
        yield _command("end the suspension", f"reconciler resume {shlex.quote(suspension['name'])}")
    if reason in PRUNE_GUARDS:
        yield _command("confirm that it is to go (stop the daemon first)", "reconciler apply --confirm")
    if reason == Reason.GATE_FAILED:
        what = "what each gate measured; then mend the model or its bars in git, or revert the commit"
        yield _command(what, f"reconciler history {name}")
    if reason in BY_FAILURE or state["word"] == "Stalled":
        yield _command("try again what failed", f"reconciler retry {name}")
    yield _command("why it is as it is: recipe, gates, template", f"reconciler explain {name}")
    if variant["id"]:
        yield _command("ask it something", f'reconciler ask {name} "What is the capital of Slovenia?"')
    if releases > 1:
        yield _command("see what an earlier release would do", f"reconciler rollback {name} --dry-run")
    if suspension is None:
        yield _command("leave it as it is for a while", f'reconciler suspend {model} --until 24h --reason "..."')


def _command(what: str, text: str) -> View:
    return {"what": what, "command": text}


def worst(states: Mapping[str, int]) -> str:
    """Of tones that are counted; good where there is none."""
    return next((tone for tone in TONES if states.get(tone)), "good")
