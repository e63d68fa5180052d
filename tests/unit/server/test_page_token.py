"""Page tokens: they come back as they went, for the same query only, and nothing made up is taken."""

import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tailrace.server.api.page_token import page_size_of, read_page_token, write_page_token
from tailrace.server.domain.errors import PageTokenInvalidError

PLACES = st.text(min_size=1, max_size=100)


@given(query=st.text(), place=PLACES)
def test_place_comes_back_for_the_query_that_it_is_of(query: str, place: str) -> None:
    token = write_page_token(query, place)

    assert token.isascii()
    assert read_page_token(query, token) == place


@given(query=st.text(), other=st.text(), place=PLACES)
def test_token_of_another_query_is_refused(query: str, other: str, place: str) -> None:
    assume(query != other)

    with pytest.raises(PageTokenInvalidError):
        read_page_token(other, write_page_token(query, place))


def test_end_is_no_token_and_no_token_is_the_beginning() -> None:
    assert (write_page_token("query", ""), read_page_token("query", "")) == ("", "")


@pytest.mark.parametrize(
    "token",
    [
        "=",
        "A",
        "not base64!",
        "\N{SNOWMAN}",
        "a\nb",
        base64.urlsafe_b64encode(b"12345678place").decode(),
        write_page_token("query", "place")[:10],
        write_page_token("query", "place") + "\n",
        base64.urlsafe_b64encode(base64.urlsafe_b64decode(write_page_token("query", "p") + "===")[:8]).decode(),
        "A" * (1 << 20),
    ],
)
def test_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(PageTokenInvalidError):
        read_page_token("query", token)


def test_bytes_that_are_no_text_are_refused() -> None:
    head = base64.urlsafe_b64decode(write_page_token("query", "p") + "===")[:8]

    with pytest.raises(PageTokenInvalidError):
        read_page_token("query", base64.urlsafe_b64encode(head + b"\xff\xfe").decode())


@given(st.text())
def test_any_text_is_either_a_token_or_refused(token: str) -> None:
    assume(token)

    with pytest.raises(PageTokenInvalidError):
        read_page_token("query", token)


@pytest.mark.parametrize(("asked", "size"), [(0, 50), (1, 1), (50, 50), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_page_has_a_size_within_bounds(asked: int, size: int) -> None:
    assert page_size_of(asked) == size
