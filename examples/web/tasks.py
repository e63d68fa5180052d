"""What the web server has others do."""

import time

from tailrace.worker import RetryPolicy, Worker, current_task

worker = Worker(queues=["web"])


@worker.task(queue="web", retry=RetryPolicy(max_attempts=3))
def count_words(text: str, pause: float = 0.0) -> dict[str, int]:
    """Count words, line by line."""
    lines = text.splitlines()
    counts: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        for word in line.split():
            counts[word] = counts.get(word, 0) + 1
        current_task().progress(number, len(lines))
        time.sleep(pause)
    return counts
