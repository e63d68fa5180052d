"""What the demo's worker runs. `tailrace worker examples.demo.tasks:worker` would do the same."""

import hashlib
import time
from datetime import timedelta
from pathlib import Path

from tailrace.worker import RetryPolicy, Worker

worker = Worker(queues=["demo"])


@worker.task()
def checksum(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@worker.task()
def count_words(path: str) -> int:
    return len(Path(path).read_text(encoding="utf-8").split())


@worker.task(retry=RetryPolicy(max_attempts=3, initial_backoff=timedelta(milliseconds=300)))
def call_flaky_service(scratch_file: str) -> str:
    """Fail twice, then succeed: the file remembers how often it was tried."""
    file = Path(scratch_file)
    tries = int(file.read_text(encoding="ascii")) + 1 if file.exists() else 1
    file.write_text(str(tries), encoding="ascii")
    if tries < 3:
        raise ConnectionError(f"connection reset by peer (try {tries})")
    return f"came through at try {tries}"


@worker.task()
def mean_word_length(path: str) -> float:
    words = Path(path).read_text(encoding="utf-8").split()
    return sum(len(word) for word in words) / len(words)


@worker.task()
def think_hard(seconds: float) -> str:
    time.sleep(seconds)
    return "42"
