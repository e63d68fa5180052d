"""The contract's numbers: what a request may carry, and how long the server lets things last."""

from typing import Final

MAX_BATCH_ITEMS: Final = 1_000
MAX_BATCH_BYTES: Final = 4 << 20
MAX_TASK_IDS_BYTES: Final = 256 << 10
"""Of all the ids of one call: far more than valid ones take, so that an answer can repeat them."""
MAX_MESSAGE_BYTES: Final = 4 << 20
"""No message above this leaves the server: it is what every gRPC library takes by default."""
FILL_MESSAGE_BYTES: Final = 3 << 20
"""Where a message under construction counts as full, leaving room for one more item of ordinary size."""
MAX_RECEIVED_MESSAGE_BYTES: Final = 16 << 20
"""Far above our own limits, so that they answer, naming the field, and not gRPC."""
DEFAULT_MAX_PAYLOAD_BYTES: Final = 1 << 20
PAYLOAD_BYTES_CEILING: Final = 3 << 20

MAX_CONTENT_TYPE_BYTES: Final = 256
MAX_CONTENT_ENCODING_BYTES: Final = 64
MAX_ATTRIBUTES: Final = 16
MAX_ATTRIBUTES_BYTES: Final = 1 << 10
MAX_LABELS: Final = 16
MAX_LABEL_KEY_BYTES: Final = 64
MAX_LABEL_VALUE_BYTES: Final = 256
MAX_HEADERS: Final = 32
MAX_HEADERS_BYTES: Final = 8 << 10

MAX_PRIORITY: Final = 9
MAX_ATTEMPTS: Final = 1_000_000
MAX_LOST_LEASES: Final = 1_000
MAX_BACKOFF_MULTIPLIER: Final = 1_000.0
MAX_NON_RETRYABLE_TYPES: Final = 32
MAX_FAILURE_TYPE_BYTES: Final = 256
MAX_FAILURE_MESSAGE_BYTES: Final = 4 << 10
MAX_TRACEBACK_BYTES: Final = 32 << 10
MAX_FAILURE_SOURCE_BYTES: Final = 64
MAX_FAILURE_DETAILS_BYTES: Final = 16 << 10
MAX_FAILURE_DEPTH: Final = 8
MAX_REVOKE_REASON_BYTES: Final = 1 << 10

MAX_BACKOFF_MS: Final = 30 * 86_400_000
MAX_RESULT_TTL_MS: Final = 30 * 86_400_000
MAX_START_DELAY_MS: Final = 365 * 86_400_000
MAX_START_WITHIN_MS: Final = 365 * 86_400_000
MAX_TOTAL_TIMEOUT_MS: Final = 365 * 86_400_000
MIN_EXECUTION_TIMEOUT_MS: Final = 1_000
MAX_EXECUTION_TIMEOUT_MS: Final = 30 * 86_400_000
MAX_RELEASE_DELAY_MS: Final = 3_600_000

MAX_PROGRESS_MESSAGE_BYTES: Final = 1 << 10
MAX_PROGRESS_DETAILS_BYTES: Final = 16 << 10
PROGRESS_INTERVAL_S: Final = 0.5
"""How far apart two progress messages of one task are at least, on one stream."""

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 1_000
MAX_FILTER_BYTES: Final = 4 << 10
MAX_LOOKED_AT: Final = 1_000
"""Records that one page of a listing looks through at most, whether they pass the filter or not."""
QUEUE_DEPTH_CEILING: Final = 1_000_000_000
"""Larger limits on waiting tasks are a slip of the keyboard."""
PURGE_BUDGET_S: Final = 5.0
MAX_PURGE_STEP: Final = 50
"""Tasks that one store call of a purge looks at: it keeps Redis from everybody else for a few milliseconds."""

MAX_WAIT_TARGETS: Final = 1_000
MAX_WATCH_TARGETS: Final = 100_000
MAX_WAIT_TIMEOUT_MS: Final = 60_000
"""Of the long polls; a WaitFor stream may ask for any span and is asked to reconnect now and then."""
WAIT_STREAM_LIFE_S: Final = 600.0
WORK_STREAM_LIFE_S: Final = 1_800.0
STREAM_LIFE_SPREAD: Final = 0.2
KEEPALIVE_S: Final = 20.0
SILENCE_S: Final = 50.0
"""After this much silence a stream counts as dead."""
HELLO_S: Final = 10.0

MAX_WORKER_ID_CHARS: Final = 128
MAX_LEASE_TOKEN_BYTES: Final = 64
"""Longer than any token that is ever handed out."""
MAX_ECHO_BYTES: Final = 128
"""How much of a name is repeated to the caller; only malformed ones are longer."""
MAX_SDK_BYTES: Final = 64
MAX_QUEUES: Final = 64
MAX_OUTSTANDING_TASKS: Final = 10_000
MAX_HELD_LEASES: Final = 10_000
MAX_LEASE_TASKS: Final = 100
HEARTBEAT_INTERVAL_MS: Final = 10_000

MIN_PROTOCOL_VERSION: Final = 1
MAX_PROTOCOL_VERSION: Final = 1
