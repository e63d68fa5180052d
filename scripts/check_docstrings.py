"""Checks that docstrings of the API say what callers need; prints what they leave out and ends with 1.

Looked at is what ``__all__`` of a package names, with the public methods of its classes, and in the command line every
public function. Of each is asked, beside a docstring at all:

- ``Args:`` names the parameters, all of them and no others. Without that section the text names them, or there are few
  enough (one; two in the command line, where nobody calls them from outside), or the text defers to another docstring
  ("see ``...``", "as ``...`` does").
- ``Raises:`` names what the function raises itself, or by private functions of its module.
- What comes back is said: by ``Returns:``, or in words, or by a first word that promises it.
"""

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tailrace.client", "tailrace.worker", "tailrace.server", "tailrace.testing", "tailrace.testing.fixtures")
COMMAND_LINE = "client/tailrace/cli"
RECEIVERS = ("self", "cls")

DEFERS = re.compile(r"\b(?:see|as) ``\w[\w.]*``|``\w[\w.]*`` (?:says|explains)", re.IGNORECASE)
SAYS_WHAT_COMES = re.compile(
    r"\b(?:returns?|yields?|tells?|whether|usable as)\b|\A(?:Make|Ask|Read|Run)\b", re.IGNORECASE
)
SECTION = re.compile(r"^(Args|Raises|Returns|Yields):\n((?:    .*\n|\n)*)", re.MULTILINE)
ENTRY = re.compile(r"^    \*{0,2}(\w[\w., ]*?):", re.MULTILINE)


def main() -> int:
    """Run all checks."""
    problems = [problem for name, function in sorted(_functions()) for problem in _problems(name, function)]
    problems += [f"{name}: no docstring" for name, item in _items() if not (item.__doc__ or "").strip()]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def _items() -> Iterator[tuple[str, Any]]:
    """List public functions and classes, by their full names."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", None) or _own_names(module):
            item = getattr(module, name)
            if inspect.isclass(item) or isinstance(inspect.unwrap(item), FunctionType):
                yield f"{package}.{name}", item
    for path in sorted((ROOT / COMMAND_LINE).glob("_*.py")):
        module = importlib.import_module(f"tailrace.cli.{path.stem}")
        for name in _own_names(module):
            item = getattr(module, name)
            if inspect.isclass(item) or isinstance(item, FunctionType):
                yield f"{module.__name__}.{name}", item


def _own_names(module: ModuleType) -> list[str]:
    return [
        name
        for name, item in vars(module).items()
        if not name.startswith("_") and getattr(item, "__module__", None) == module.__name__
    ]


def _functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """List public functions, and methods and properties of public classes, by their full names."""
    for name, item in _items():
        if not inspect.isclass(item):
            yield f"{name}()", inspect.unwrap(item)
            continue
        for member, value in vars(item).items():
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            is_public = not member.startswith("_") or member == "__init__"
            if is_public and inspect.isfunction(function):
                yield f"{name}.{member}" + ("()" if not isinstance(value, property) else ""), function


def _problems(name: str, function: Callable[..., Any]) -> Iterator[str]:
    text = inspect.cleandoc(function.__doc__ or "") + "\n"
    if text == "\n":
        # A constructor's class may say it all; a dataclass writes its own.
        if not name.endswith(".__init__()"):
            yield f"{name}: no docstring"
        return
    sections = dict(SECTION.findall(text))
    yield from _args_problems(name, function, text, sections.get("Args"))
    yield from _raises_problems(name, function, text, sections.get("Raises", ""))
    # A property's text is a noun; a with statement's says what holds inside.
    says_otherwise = name[-1] != ")" or "contextmanager" in inspect.getsource(function).partition("def ")[0]
    returns = inspect.signature(function).return_annotation
    is_said = says_otherwise or SAYS_WHAT_COMES.search(text) or DEFERS.search(text)
    if returns not in {None, "None", inspect.Signature.empty} and not is_said:
        yield f"{name}: what it returns is not said"


def _args_problems(name: str, function: Callable[..., Any], text: str, args: str | None) -> Iterator[str]:
    parameters = [each for each in inspect.signature(function).parameters if each not in RECEIVERS]
    if args is not None:
        named = ENTRY.findall(args)
        if named != parameters:
            yield f"{name}: Args names {', '.join(named)}, the signature {', '.join(parameters)}"
        return
    few = 2 if name.startswith("tailrace.cli.") else 1
    unsaid = [each for each in parameters if not re.search(rf"\b{each}\b", text)]
    if unsaid and len(parameters) > few and not DEFERS.search(text):
        yield f"{name}: no Args, and nothing is said of {', '.join(unsaid)}"


def _raises_problems(name: str, function: Callable[..., Any], text: str, raises: str) -> Iterator[str]:
    listed = {each.strip() for entry in ENTRY.findall(raises) for each in entry.split(",")}
    unlisted = sorted(_raised_by(function) - listed)
    if unlisted and not DEFERS.search(text):
        yield f"{name}: Raises does not name {', '.join(unlisted)}"


def _raised_by(function: Callable[..., Any]) -> set[str]:
    """Name the exceptions raised in a function, and in the private functions of its module that it calls."""
    module = inspect.getmodule(function)
    assert module is not None
    bodies = _bodies_in(inspect.getsource(module))
    raised: set[str] = set()
    seen: set[str] = set()
    (start,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    waiting: list[ast.AST] = [start]
    while waiting:
        for node in _walk_own(waiting.pop()):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
                raised.add(node.exc.func.id)
            called = _private_name(node)
            if called in bodies and called not in seen:
                seen.add(called)
                waiting += bodies[called]
    return {error for error in raised if error[0] != "_" and error not in {"AssertionError", "AttributeError"}}


def _bodies_in(source: str) -> dict[str, list[ast.AST]]:
    bodies: dict[str, list[ast.AST]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("_"):
            bodies.setdefault(node.name, []).append(node)
    return bodies


def _walk_own(function: ast.AST) -> Iterator[ast.AST]:
    """Walk a function without those that are defined in it: they run at another time. What is caught counts not."""
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield node
        if isinstance(node, ast.Try):
            waiting += [*node.handlers, *node.orelse, *node.finalbody]
        else:
            waiting += ast.iter_child_nodes(node)


def _private_name(node: ast.AST) -> str:
    """Name what a call is of, if that may be private to the module: ``_name()`` or ``self._name()``."""
    if not isinstance(node, ast.Call):
        return ""
    called = node.func
    if isinstance(called, ast.Name):
        return called.id
    is_own = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in RECEIVERS
    return called.attr if isinstance(called, ast.Attribute) and is_own else ""


if __name__ == "__main__":
    sys.exit(main())
