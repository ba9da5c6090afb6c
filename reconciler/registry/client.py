"""One repository of an OCI registry (distribution specification 1.1): tags, manifests, blobs and referrers.

What is read by digest is compared with that digest before it is given on. Every error names registry, repository and
digest. A registry that has no referrers API (Distribution 2.8) has them under the tag `sha256-<hex>`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from reconciler.domain import digest as digests
from reconciler.domain.errors import RegistryFailed
from reconciler.registry.session import SMALL, HttpAnswer, Session

Descriptor = dict[str, Any]

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
WRONG_BYTES_HINT = "what the registry keeps is damaged, or not from whom you think: delete it there and push it again"
AN_HOUR = 3600.0
NOT_WHOLE = ("RegistryLacks", "DigestMismatch")  # codes of what is wrong with one manifest or blob, not the registry
PAGES = 20
PAGE, MOST_TAGS = 1000, 1_000_000  # tags
LOOKS, MOST_LOOKS = 2, 20  # at a list of referrers, until an entry is known to have stayed

_ACCEPT = {"Accept": f"{MANIFEST_TYPE}, {INDEX_TYPE}"}
_LINK = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')


class RegistryClient:
    def __init__(self, session: Session) -> None:
        self.session = session

    def resolve(self, tag: str) -> str | None:
        """The digest that a tag names now; None for a tag that is not there."""
        answer = self.session.ask("HEAD", self._manifest(tag), (200, 404), _ACCEPT)
        if answer.status == 404:
            return None
        named = answer.headers.get("Docker-Content-Digest") or ""
        return named if DIGEST.fullmatch(named) else digests.of_bytes(self._get(tag).data)

    def manifest(self, digest: str) -> bytes:
        """Exactly the bytes that were put."""
        data = self._get(digest).data
        found = digests.of_bytes(data)
        # guard: a manifest matches its digest
        if found != digest:
            raise self.wrong_bytes(digest, f"{len(data)} bytes of {found}")
        return data

    def tagged(self, tag: str) -> tuple[bytes | None, str]:
        """The manifest that a tag names now, None for a tag that is not there; and the registry's clock, as HTTP has
        it ("" where it tells none)."""
        answer = self.session.ask("GET", self._manifest(tag), (200, 404), _ACCEPT)
        return answer.data if answer.status == 200 else None, answer.headers.get("Date") or ""

    def tags(self, *, page: int = PAGE) -> Iterator[str]:
        """All of the repository, page by page; a repository that nothing was put into has none."""
        url = self.session.url(f"tags/list?n={page}")
        for _ in range(MOST_TAGS // page + 1):
            answer = self.session.ask("GET", url, (200, 404))
            yield from _tags_in(answer)
            link = _LINK.search(answer.headers.get("Link") or "")
            if not link:
                return
            url = self.session.following(url, link[1])

    def put_manifest(self, data: bytes, reference: str = "", media_type: str = MANIFEST_TYPE) -> str:
        """Under its digest, or under a tag too. All that it names must be there. Returns the digest."""
        digest = digests.of_bytes(data)
        self._put(data, reference or digest, media_type)
        return digest

    def remove(self, tag: str) -> None:
        """The manifest that a tag names, with all its tags. Raises RegistryFailed where the registry removes nothing,
        or not for this account."""
        digest = self.resolve(tag)
        if digest is not None:
            self.session.ask("DELETE", self._manifest(digest), (200, 202, 204, 404), tries=1)

    def has_blob(self, digest: str) -> bool:
        return self.session.ask("HEAD", self.blob_url(digest), (200, 404)).status == 200

    def blob_url(self, digest: str) -> str:
        return self.session.url(f"blobs/{checked(digest)}")

    def small_blob(self, digest: str, size: int) -> bytes:
        """The whole of one that is as short as a document."""
        answer = self.session.ask("GET", self.blob_url(digest), (200,))
        found = digests.of_bytes(answer.data)
        # guard: a small blob matches its digest
        if found != digest or len(answer.data) != size:
            raise self.wrong_bytes(digest, f"{len(answer.data)} bytes of {found}")
        return answer.data

    def referrers(self, digest: str, artifact_type: str = "") -> list[Descriptor]:
        """What is attached to a manifest, such as its signatures."""
        found = self._from_api(digest)
        if found is None:
            found = self._from_tag(digest)
        return [one for one in found if not artifact_type or one.get("artifactType") == artifact_type]

    def attach(self, data: bytes) -> str:
        """Put a manifest that has a `subject`, and list it where the registry does not do so by itself."""
        document = json.loads(data)
        digest = digests.of_bytes(data)
        if "OCI-Subject" in self._put(data, digest, MANIFEST_TYPE).headers:
            return digest
        subject = document["subject"]["digest"]
        entry = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(data)}
        entry |= {key: document[key] for key in ("artifactType", "annotations") if key in document}
        self._list(subject, entry)
        return digest

    def wrong_bytes(self, digest: str, came: str) -> RegistryFailed:
        reason = f"other bytes came: {came}"
        return self.session.error(digest, reason, code="DigestMismatch", hint=WRONG_BYTES_HINT, delay=AN_HOUR)

    def _manifest(self, reference: str) -> str:
        if not (TAG.fullmatch(reference) or DIGEST.fullmatch(reference)):
            raise ValueError(f"{reference!r} is neither a tag nor a sha256 digest")
        return self.session.url(f"manifests/{reference}")

    def _get(self, reference: str) -> HttpAnswer:
        return self.session.ask("GET", self._manifest(reference), (200,), _ACCEPT)

    def _put(self, data: bytes, reference: str, media_type: str) -> HttpAnswer:
        url = self._manifest(reference)
        if len(data) > SMALL:
            raise ValueError(f"a manifest of {len(data)} bytes: registries refuse more than {SMALL}")
        return self.session.ask("PUT", url, (200, 201, 202), {"Content-Type": media_type}, lambda: data)

    def _from_api(self, digest: str) -> list[Descriptor] | None:
        url, found = self.session.url(f"referrers/{checked(digest)}"), []
        for _ in range(PAGES):
            answer = self.session.ask("GET", url, (200, 404), {"Accept": INDEX_TYPE})
            listed = _manifests_in(answer)
            if listed is None:
                return None
            found += listed
            link = _LINK.search(answer.headers.get("Link") or "")
            if not link:
                return found
            url = self.session.following(url, link[1])
        return found

    def _list(self, subject: str, entry: Descriptor) -> None:
        """That list has no lock, and others may write it too: so it is read, written with this entry more, and read
        again until the entry has stayed. An entry is lost only where another writer takes longer from its read to its
        write than this one looks; the next `attach` of the same manifest mends that."""
        stayed = 0
        for _ in range(MOST_LOOKS):
            listed = self._from_tag(subject)
            stayed = stayed + 1 if any(one["digest"] == entry["digest"] for one in listed) else 0
            if stayed == LOOKS:
                return
            if not stayed:
                index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [*listed, entry]}
                self._put(digests.canonical(index), _fallback(subject), INDEX_TYPE)
            self.session.pause(stayed + 1)
        reason = f"its list of referrers was written by others {MOST_LOOKS} times"
        raise self.session.error(subject, reason, code="RegistryBusy", hint="try again: the others will have ended")

    def _from_tag(self, digest: str) -> list[Descriptor]:
        answer = self.session.ask("GET", self._manifest(_fallback(digest)), (200, 404), _ACCEPT)
        return _manifests_in(answer) or []


def _manifests_in(answer: HttpAnswer) -> list[Descriptor] | None:
    """None for what is no list: some registries answer 200 with a page of their own."""
    try:
        listed = json.loads(answer.data)["manifests"] if answer.status == 200 else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(listed, list):
        return None
    return [one for one in listed if isinstance(one, dict) and DIGEST.fullmatch(str(one.get("digest")))]


def _tags_in(answer: HttpAnswer) -> list[str]:
    """Distribution calls a repository without tags null, and one without manifests missing."""
    try:
        listed = json.loads(answer.data)["tags"] if answer.status == 200 else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return [tag for tag in listed or () if isinstance(tag, str) and TAG.fullmatch(tag)]


def _fallback(digest: str) -> str:
    return checked(digest).replace(":", "-")


def checked(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is no sha256 digest")
    return digest
