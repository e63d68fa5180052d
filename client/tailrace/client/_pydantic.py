"""pydantic 2, where the program uses it: its models and its annotations are its own to write and read.

Never imported from here. A value or an annotation of pydantic's can only come from a program that imported it.
"""

import functools
import json
import sys
from typing import Annotated, Any, cast, get_args, get_origin

from tailrace.client._misfit import MisfitError, item, member

_PACKAGES = frozenset({"pydantic", "annotated_types"})
_MAX_ERRORS = 3


def owns(value: object) -> bool:
    """Whether a value is one of pydantic's: a model, one of its dataclasses, a URL, a secret."""
    return "pydantic_core" in sys.modules and _is_of_pydantic(type(value))


def claims(annotation: Any) -> bool:
    """Whether an annotation is one that pydantic validates; what it stands inside of does not count."""
    if "pydantic" not in sys.modules:
        return False
    if get_origin(annotation) is Annotated:
        return any(_is_of_package(each) for each in annotation.__metadata__) or claims(get_args(annotation)[0])
    type_ = get_origin(annotation) or annotation
    return isinstance(type_, type) and _is_of_pydantic(type_)


def to_plain(value: Any) -> Any:
    """Return what pydantic makes of a value for JSON.

    Raises:
        MisfitError: It makes nothing of it.
    """
    try:
        return sys.modules["pydantic_core"].to_jsonable_python(value)
    except Exception as error:
        raise MisfitError(f"cannot be written by pydantic: {error}") from error


class PydanticReader:
    """Reads plain values by the rules that pydantic has for JSON."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation

    def __call__(self, plain: Any) -> Any:
        """Return what pydantic makes of a plain value.

        Raises:
            MisfitError: It does not fit.
        """
        try:
            return self._adapter.validate_json(json.dumps(plain))
        except Exception as error:  # a validator of the program's own may raise anything
            raise _misfit(error) from error

    @functools.cached_property
    def _adapter(self) -> Any:
        # Made late: models may be complete only once all of their module is there.
        return sys.modules["pydantic"].TypeAdapter(self._annotation)


def _misfit(error: Exception) -> MisfitError:
    validation_error: Any = sys.modules["pydantic_core"].ValidationError
    if not isinstance(error, validation_error):
        return MisfitError(f"was refused: {type(error).__name__}: {error}")
    # Without the input: a message is seen by more people than a payload.
    problems: list[dict[str, Any]] = cast("Any", error).errors(
        include_url=False, include_input=False, include_context=False
    )
    if len(problems) == 1:
        misfit = MisfitError(f"does not fit: {problems[0]['msg']}")
        for part in reversed(problems[0]["loc"]):
            misfit.step(_step(part))
        return misfit
    told = "; ".join(
        f"{''.join(map(_step, each['loc']))}: {each['msg']}".lstrip(".") for each in problems[:_MAX_ERRORS]
    )
    more = f"; and {len(problems) - _MAX_ERRORS} more" if len(problems) > _MAX_ERRORS else ""
    return MisfitError(f"does not fit: {told}{more}")


def _step(part: Any) -> str:
    return item(part) if isinstance(part, int) else member(part)


def _is_of_pydantic(type_: type) -> bool:
    return hasattr(type_, "__pydantic_validator__") or hasattr(type_, "__get_pydantic_core_schema__")


def _is_of_package(metadata: object) -> bool:
    type_ = metadata if isinstance(metadata, type) else type(metadata)
    return type_.__module__.partition(".")[0] in _PACKAGES or hasattr(type_, "__get_pydantic_core_schema__")
