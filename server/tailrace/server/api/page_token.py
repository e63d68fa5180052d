"""Page tokens: where a listing goes on, tied to the query that it is a page of.

Opaque to callers and not secret. A token is read as carefully as any other input: a made-up one can ask for nothing
that its caller could not ask for otherwise.
"""

import base64
import binascii
import hashlib

from tailrace.server.domain.errors import PageTokenInvalidError
from tailrace.server.domain.limits import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE

QUERY_BYTES = 8
MAX_TOKEN_CHARS = 4 << 10
"""Far longer than any that is ever handed out."""


def write_page_token(query: str, place: str) -> str:
    """Make the token for the page after ``place`` of a query; empty for the end, which is no place."""
    if not place:
        return ""
    return base64.urlsafe_b64encode(_digest(query) + place.encode()).decode().rstrip("=")


def read_page_token(query: str, token: str) -> str:
    """Read the place back; empty for the first page.

    Raises:
        PageTokenInvalidError: The token is malformed, or was handed out for another query.
    """
    if not token:
        return ""
    if len(token) > MAX_TOKEN_CHARS:
        raise PageTokenInvalidError
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        place = raw[QUERY_BYTES:].decode()
    except (UnicodeError, binascii.Error):
        raise PageTokenInvalidError from None
    if raw[:QUERY_BYTES] != _digest(query) or not place:
        raise PageTokenInvalidError
    return place


def page_size_of(asked: int) -> int:
    """Tell how many to answer with: the default for none, never more than the most."""
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def _digest(query: str) -> bytes:
    return hashlib.sha256(query.encode()).digest()[:QUERY_BYTES]
