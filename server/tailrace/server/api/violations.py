"""Gathering what is wrong with a request, so that its author hears of all of it at once."""

from tailrace.server.domain.errors import FieldViolation, InvalidRequestError

MAX_VIOLATIONS = 10


class Violations:
    """The fields at fault, the first ten of them."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """Note that a field is at fault."""
        if len(self._found) < MAX_VIOLATIONS:
            self._found.append(FieldViolation(field, description))

    def raise_if_any(self) -> None:
        """Refuse the request if anything was noted.

        Raises:
            InvalidRequestError: With every violation noted.
        """
        if self._found:
            raise InvalidRequestError(self._found)


def invalid(field: str, description: str) -> InvalidRequestError:
    """Make the error for a single field at fault."""
    return InvalidRequestError([FieldViolation(field, description)])
