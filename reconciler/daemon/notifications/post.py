"""HTTP POST to a server that the operator named: one try with a time limit, no redirects, TLS verified.

Of the answer only the status and `Retry-After` are read. Errors never quote the URL, which may be a secret.
"""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.domain.errors import UsageError

TIMEOUT = 10.0  # seconds for each answer on the wire
LONGEST_REST = 3600.0  # seconds that a server can make us wait

_URL = re.compile(r"(https?)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?(/[!-~]*)?")


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


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry token and signature to a server that was not named."""

    def redirect_request(self, *_: object) -> None:
        return None


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
    """TLS is verified with the system's authorities (or SSL_CERT_FILE), and the usual proxy variables are honoured."""
    request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as response:
            return Reply(status=response.status)
    except urllib.error.HTTPError as error:
        with error:
            return Reply(status=error.code, rest=_rest(error.headers.get("Retry-After")))
    except urllib.error.URLError as error:
        return Reply(status=0, problem=_problem(error.reason))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Reply(status=0, problem=_problem(error))


def _problem(error: object) -> str:
    """Never the message of the exception itself: it may quote the URL, and a URL may be a secret."""
    strerror = getattr(error, "strerror", None)
    return f"{type(error).__name__}: {strerror}" if strerror else type(error).__name__


def _rest(header: str | None) -> float:
    """Seconds only; a date would have to believe its clock."""
    return min(float(header), LONGEST_REST) if header and re.fullmatch(r"\d{1,9}", header) else 0.0


def check_url(url: str, where: str) -> None:
    """Raises UsageError. A password has no place in a URL: secrets are in files."""
    if not _URL.fullmatch(url):
        raise UsageError(f"{where}: expected a URL such as https://example.com/path, without a password")
