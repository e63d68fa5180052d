"""The type variables that submitting and waiting share."""

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

P = ParamSpec("P")
"""The parameters of a task."""
R = TypeVar("R")
"""What a task returns."""
T = TypeVar("T")

if TYPE_CHECKING:
    # Python has defaults for type variables from 3.13 on, type checkers have them now: AsyncResult is AsyncResult[Any].
    from typing_extensions import TypeVar as _TypeVar

    R_co = _TypeVar("R_co", covariant=True, default=Any)
else:
    R_co = TypeVar("R_co", covariant=True)
