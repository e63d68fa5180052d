"""Programs that use a client as programs do, run by `python -m tests.integration.client_programs NAME ADDRESS`.

Each leaves something undone on purpose: a client open, a wait under way, a client from before a fork.
"""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from tailrace.client import AsyncClient, Client, TailraceError, WrongLoopError

CHILDREN = 3
WITHIN_S = 10.0
PROGRAMS: dict[str, Callable[[str], None]] = {}


def program(function: Callable[[str], None]) -> Callable[[str], None]:
    PROGRAMS[function.__name__] = function
    return function


def say(*words: object) -> None:
    """Print one line at once; lines of several processes do not mix."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def in_child(work: Callable[[], object]) -> int:
    """Do something in a forked process, which is killed if it hangs, and say what came of it and how long it took."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(int(WITHIN_S))
    began = time.monotonic()
    try:
        outcome = work()
    except TailraceError as error:
        outcome = f"{type(error).__name__} {error}"
    say("child", "soon" if time.monotonic() - began < 3 else "late", outcome)
    # As a prefork server's worker ends: by way of the interpreter's own end.
    sys.exit(0)


def prefork(work: Callable[[], object]) -> None:
    """Fork several children, as a prefork server does, and say how each ended."""
    pids = [in_child(work) for _ in range(CHILDREN)]
    say("ended", *(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))


def submitted_state(client: Client) -> str:
    return str(client.options(queue="nobody").submit("a").state)


@program
def fork_before_use(address: str) -> None:
    client = Client(address)
    prefork(lambda: submitted_state(client))
    say("parent", submitted_state(client))


@program
def fork_after_use(address: str) -> None:
    client = Client(address)
    waited_for = client.options(queue="nobody").submit("a")
    waiting = threading.Thread(target=waited_for.wait, daemon=True)
    waiting.start()
    say("parent", client.options(queue="nobody").submit("a").state)
    prefork(lambda: submitted_state(client))
    waited_for.revoke()
    waiting.join(WITHIN_S)
    say("parent", waited_for.state, submitted_state(client))


@program
def fork_after_asyncio_use(address: str) -> None:
    client = AsyncClient(address)

    async def use() -> str:
        return str((await client.options(queue="nobody").submit("a")).state)

    say("parent", asyncio.run(use()))
    prefork(lambda: asyncio.run(use()))
    say("parent", asyncio.run(use()))


@program
def fork_asyncio_before_use(address: str) -> None:
    client = AsyncClient(address)

    async def use() -> str:
        return str((await client.options(queue="nobody").submit("a")).state)

    prefork(lambda: asyncio.run(use()))


@program
def leave_open(address: str) -> None:
    client = Client(address)
    say(submitted_state(client))


@program
def leave_waiting(address: str) -> None:
    client = Client(address)
    results = client.options(queue="nobody").map("a", [(number,) for number in range(3)])
    for wait in (results[0].get, lambda: list(client.as_completed(results)), lambda: client.gather(results)):
        threading.Thread(target=wait, daemon=True).start()
    while threading.active_count() < 5:
        time.sleep(0.01)
    say(submitted_state(client))


@program
def leave_submitting(address: str) -> None:
    client = Client(address)

    def submit() -> None:
        while True:
            client.options(queue="nobody").submit("a")

    for _ in range(4):
        threading.Thread(target=submit, daemon=True).start()
    say(submitted_state(client))


@program
def leave_waiting_for_no_server(address: str) -> None:
    client = Client("127.0.0.1:1")
    threading.Thread(target=lambda: client.submit("a"), daemon=True).start()
    threading.Thread(target=client.result("a").get, daemon=True).start()
    say("PENDING")


@program
def leave_a_loop_half_way(address: str) -> None:
    client = Client(address)
    results = client.options(queue="nobody").map("a", [(1,)])
    completed = client.as_completed([*results, client.result("unknown")])
    next(completed)
    say(results[0].state)


@program
def leave_asyncio_waiting(address: str) -> None:
    client = AsyncClient(address)

    async def use() -> None:
        result = await client.options(queue="nobody").submit("a")
        waits = [asyncio.create_task(result.get()) for _ in range(3)]
        await asyncio.wait(waits, timeout=0.05)
        say(result.state)

    asyncio.run(use())


@program
def loop_after_loop(address: str) -> None:
    client = AsyncClient(address)

    async def use() -> None:
        result = await client.options(queue="nobody").submit("a")
        say(await result.refresh())

    for _ in range(3):
        asyncio.run(use())


@program
def loops_side_by_side(address: str) -> None:
    """A client for each loop works; one for both says what to do."""
    shared = AsyncClient(address)
    both_run = threading.Barrier(2)

    async def use() -> None:
        async with AsyncClient(address) as client:
            results = await client.options(queue="nobody").map("a", [(number,) for number in range(50)])
            say(len([state for state in [await result.refresh() for result in results] if state == "PENDING"]))
            await asyncio.to_thread(both_run.wait, WITHIN_S)
            try:
                await shared.submit("a")
                say("shared")
            except WrongLoopError as error:
                say(error)
            await asyncio.to_thread(both_run.wait, WITHIN_S)

    threads = [threading.Thread(target=lambda: asyncio.run(use())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](sys.argv[2])
    say("end", time.time())
