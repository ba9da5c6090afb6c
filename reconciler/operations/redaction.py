"""Text that leaves the machine in the hands of a stranger, without what opens doors. Pure.

What is known to be secret is taken out wherever it stands; what looks like a secret of a known kind, too; of an address
only its host and path stay. It is a net below the rule that secrets are in no log and no record, not in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "[hidden]"
SHORTEST = 6  # characters; a shorter one would take half of the text with it

_USER = re.compile(r"(?<=://)[^/\s\"'@]*@")
_QUERY = re.compile(r"(://[^\s\"'<>?#]*)[?#][^\s\"'<>]*")
_TOKENS = re.compile(
    r"\b(?:hf_|gh[opsur]_|github_pat_|glpat-|xox[abprs]-|sk-|AKIA|eyJ)[A-Za-z0-9_.-]{8,}"
    r"|(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9+/=_.-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
_NAMED = re.compile(
    r"(?i)((?:token|secret|password|passwd|api[_-]?key)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;}]{6,}"
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    for secret in sorted({*secrets}, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    text = _TOKENS.sub(HIDDEN, _QUERY.sub(rf"\1?{HIDDEN}", _USER.sub("", text)))
    return _NAMED.sub(lambda found: found[0] if _is_a_path(found) else f"{found[1]}{HIDDEN}", text)


def _is_a_path(found: re.Match[str]) -> bool:
    """Where a secret lies is no secret."""
    return found[0][len(found[1]) :].startswith("/")
