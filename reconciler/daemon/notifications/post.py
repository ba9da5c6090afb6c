"""Send something to a server that the operator named: one try, with a time limit, following nobody elsewhere. What it
answers is not read, but for its status and how long it wants to be left alone."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

TIMEOUT = 10.0  # seconds for each answer on the wire
LONGEST_REST = 3600.0  # seconds that a server can make us wait


@dataclass(frozen=True, kw_only=True)
class Reply:
    """`status` is 0 when there was no answer; `problem` then says why."""

    status: int
    rest: float = 0.0
    problem: str = ""

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Asking the same again will get the same answer."""
        return 400 <= self.status < 500 and self.status not in (408, 425, 429)

    def __str__(self) -> str:
        return f"status {self.status}" if self.status else self.problem


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float = TIMEOUT) -> Reply:
    """TLS is verified with the system's authorities (or SSL_CERT_FILE), and the usual proxy variables are honoured."""

    # With TLS it costs 12 MB: only daemons that tell somebody pay for it.
    class Stay(urllib.request.HTTPRedirectHandler):
        """A redirect would carry token and signature to whom nobody named."""

        def redirect_request(self, *_: object) -> None:
            return None

    request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=timeout) as response:
            return Reply(status=response.status)
    except urllib.error.HTTPError as error:
        with error:
            return Reply(status=error.code, rest=_rest(error.headers.get("Retry-After")))
    except urllib.error.URLError as error:
        return Reply(status=0, problem=_problem(error.reason))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Reply(status=0, problem=_problem(error))


def _problem(error: object) -> str:
    """Never the words of the exception itself: they may quote the URL, and a URL may be a secret."""
    strerror = getattr(error, "strerror", None)
    return f"{type(error).__name__}: {strerror}" if strerror else type(error).__name__


def _rest(header: str | None) -> float:
    """Seconds only; a date would have to believe its clock."""
    return min(float(header), LONGEST_REST) if header and re.fullmatch(r"\d{1,9}", header) else 0.0
