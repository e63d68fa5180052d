"""How a command ends."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script may count on."""

    OK = 0
    TASK_FAILED = 1
    USAGE = 2
    NO_ANSWER = 3
    NOT_FOUND = 4
    REFUSED = 5
    INTERRUPTED = 130
    NOT_READ = 141


# "\b" keeps click from filling the lines into a paragraph.
EPILOG = """\b
Exit codes:
  0    it worked; tasks that were waited for succeeded
  1    a task failed or was revoked
  2    the command line, an argument or an option makes no sense
  3    no answer: the server was not reached, or the time was up
  4    there is no such task (never submitted, or its record expired), or no such worker
  5    the server refused, or failed
  130  interrupted
  141  whatever reads the output had enough of it
"""
