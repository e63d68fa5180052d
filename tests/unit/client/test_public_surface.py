"""What a program may import, and what importing it costs."""

import subprocess
import sys

import tailrace.client

PUBLIC_NAMES = [
    "AsyncClient",
    "AsyncResult",
    "AsyncSubmitter",
    "AsyncioResult",
    "BatchSubmitError",
    "CallRefusedError",
    "Client",
    "ClientClosedError",
    "ForkedProcessError",
    "InternalServerError",
    "InvalidRequestError",
    "LeaseLostError",
    "LimitExceededError",
    "Options",
    "PageTokenInvalidError",
    "PayloadCodec",
    "PayloadError",
    "Progress",
    "ProtocolUnsupportedError",
    "QueueFullError",
    "RetryPolicy",
    "ServerDrainingError",
    "ServerInfo",
    "ServerUnavailableError",
    "StoreEmptiedError",
    "StoreFullError",
    "StoreUnavailableError",
    "Submitter",
    "TailraceError",
    "TaskFailedError",
    "TaskFunction",
    "TaskIdConflictError",
    "TaskNotFoundError",
    "TaskNotResubmittableError",
    "TaskNotTerminalError",
    "TaskRevokedError",
    "TaskState",
    "WaitTimeoutError",
    "WorkerNotFoundError",
    "WrongLoopError",
]


def test_public_names_are_these_and_sorted() -> None:
    assert tailrace.client.__all__ == PUBLIC_NAMES
    assert sorted(PUBLIC_NAMES) == PUBLIC_NAMES


def test_nothing_public_is_importable_that_is_not_listed() -> None:
    importable = {name for name in vars(tailrace.client) if not name.startswith("_")}

    assert importable == set(PUBLIC_NAMES)


def test_importing_the_client_loads_nothing_beyond_grpc_protobuf_and_the_standard_library() -> None:
    program = """
import sys
import grpc, google.protobuf  # grpc loads whatever of its own companions is installed
before = set(sys.modules)
import tailrace.client
for name in set(sys.modules) - before:
    package = ".".join(name.split(".")[:2]) if name.startswith("tailrace.") else name.partition(".")[0]
    if package not in sys.stdlib_module_names:
        print(package)
"""
    loaded = subprocess.run([sys.executable, "-Ic", program], capture_output=True, text=True, check=True, timeout=60)

    assert set(loaded.stdout.split()) == {"google", "grpc", "tailrace", "tailrace.client", "tailrace.v1"}


MOST_CPU_S = 0.4
HEAVY = {
    "tailrace.server",
    "tailrace.worker",
    "tailrace.cli",
    "tailrace.testing",
    "click",
    "rich",
    "redis",
    "structlog",
    "grpc_health",
    "grpc_reflection",
    "sqlite3",
    "multiprocessing",
    "unittest",
    "pydoc",
}


def import_after_grpc(lines: str) -> list[str]:
    """Import the client in a fresh interpreter that has grpc already, and return what these lines print."""
    program = f"""
import sys, time
import grpc
before, began_s = set(sys.modules), time.process_time()
import tailrace.client
cpu_s, loaded = time.process_time() - began_s, set(sys.modules) - before
{lines}
"""
    command = [sys.executable, "-Ic", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()


def test_importing_the_client_costs_little_more_than_importing_grpc() -> None:
    spans_s = sorted(float(import_after_grpc("print(cpu_s)")[0]) for _ in range(5))

    assert spans_s[2] < MOST_CPU_S, spans_s


def test_importing_the_client_loads_nothing_that_is_heavy() -> None:
    loaded = import_after_grpc("print(*loaded)")

    assert "tailrace.client" in loaded
    assert [name for name in loaded if any(name == heavy or name.startswith(f"{heavy}.") for heavy in HEAVY)] == []
