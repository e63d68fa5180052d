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
