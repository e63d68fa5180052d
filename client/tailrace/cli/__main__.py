"""``tailrace``, and ``python -m tailrace.cli``: the part that works without click."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tailrace.cli._exit_code import ExitCode

_COMPANIONS = frozenset({"click", "rich"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: What follows ``tailrace``; None: this process's own arguments.

    Returns:
        The exit code; ``tailrace --help`` lists them.
    """
    # What gRPC has to say to its developers; what concerns people, errors say. Read when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _make_output_writable()
    try:
        from tailrace.cli._app import run  # noqa: PLC0415 (may not be installed)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _COMPANIONS:
            raise
        sys.stderr.write(f"tailrace: {missing} is missing: pip install 'tailrace[cli]'\n")
        return ExitCode.USAGE
    return run(sys.argv[1:] if argv is None else argv)


def _make_output_writable() -> None:
    """Write into the void where a caller closed stdout or stderr; else a connection may get its descriptor.

    What an encoding other than UTF-8 lacks, such as the dots of what is cut short, becomes a question mark; JSON has
    escapes for it.
    """
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None and sys.stdout.errors == "strict":
        reconfigure(errors="replace")
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (as long as the process lives)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(main())
