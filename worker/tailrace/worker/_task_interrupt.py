"""TaskInterrupt: how a task in a child process is told to stop."""


class TaskInterrupt(BaseException):
    """Raised in a task that runs in a child process: its time is up, it was revoked, or its lease is lost.

    Comes at any line, at most once for an attempt, and ends waits such as ``time.sleep``; code written in C is left
    only when it returns. Not an Exception, like KeyboardInterrupt and asyncio.CancelledError, so that ``except
    Exception`` lets it through. Clean up and raise it again; a process that has not come to its end five seconds after
    its time was up is killed.
    """


# The name under which people know it.
TaskInterrupt.__module__ = "tailrace.worker"
