"""Break the stores on purpose, one way at a time, and show that the tests of the stores notice.

``python -m tests.mutants [WORD ...]`` takes a copy of ``server/``, applies one mutation, and runs the store tests with
that copy first on the import path. A mutation that no test notices, or that no longer fits the code, makes it exit 1.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.mutations import redis_life, redis_queues, redis_times, sqlite_life, sqlite_times_and_queues
from tests.mutations.mutation import Edit, Mutation
from tests.operator_mutations import OPERATOR_MUTATIONS
from tests.redis_server import redis_server

ROOT = Path(__file__).parent.parent
WORKSHOP = ROOT / ".mutants"
COPY = WORKSHOP / "server"
RANDOM_WALK = "tests/store/test_differential.py"
RUN_DEADLINE_S = 300.0
TEST_DEADLINE_S = 30
PYTEST_PASSED, PYTEST_FAILED = 0, 1
MUTATIONS = (
    *redis_life.LIFE,
    *redis_times.TIMES,
    *redis_queues.QUEUES,
    *OPERATOR_MUTATIONS,
    *sqlite_life.LIFE,
    *sqlite_times_and_queues.TIMES_AND_QUEUES,
)

_COMPILE_LUA = """
import sys
from pathlib import Path
from redis import Redis
from tailrace.server.store.redis.scripts import SCRIPT_NAMES, assemble, lua_text
assert Path(sys.argv[1]) in Path(assemble.__code__.co_filename).parents, "the copy is not what is imported"
client = Redis.from_url(sys.argv[2])
for name in SCRIPT_NAMES:
    client.script_load(assemble(name).text)
"""


def main(words: list[str]) -> int:
    """Try the mutations whose description holds one of the words, or all of them; return the exit status."""
    chosen = [
        mutation
        for mutation in MUTATIONS
        if not words or any(word in f"{mutation.store}: {mutation.what}" for word in words)
    ]
    shutil.rmtree(WORKSHOP, ignore_errors=True)
    stores = dict.fromkeys(mutation.store for mutation in chosen)
    unbroken = [Mutation(what="nothing is broken", store=store, edits=()) for store in stores]
    with redis_server() as server:
        verdicts = [_try(mutation, server.url, "survived") for mutation in unbroken]
        verdicts += [_try(mutation, server.url, "killed") for mutation in chosen]
    _say(f"{sum(verdicts)} of {len(verdicts)} as they should be; logs of the others are in {WORKSHOP.name}/")
    return 0 if all(verdicts) else 1


def _try(mutation: Mutation, redis_url: str, wanted: str) -> bool:
    began = time.monotonic()
    try:
        _copy_server(mutation.edits)
        _check_that_it_compiles(redis_url)
    except ValueError as error:
        verdict, log = "no longer applies", str(error)
    else:
        verdict, log = _run_tests(mutation.store)
    is_as_wanted = verdict == wanted
    took = f"{time.monotonic() - began:5.1f} s"
    _say(f"{'ok ' if is_as_wanted else 'BAD'}  {took}  {verdict:17}  {mutation.store:6}  {mutation.what}")
    if not is_as_wanted:
        name = f"{mutation.store} {mutation.what}".replace(" ", "-")
        (WORKSHOP / f"{name}.log").write_text(log, encoding="utf-8")
    return is_as_wanted


def _copy_server(edits: tuple[Edit, ...]) -> None:
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(ROOT / "server", COPY, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in edits:
        path = COPY / edit.file
        text = path.read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            raise ValueError(f"{edit.file} holds this {text.count(edit.old)} times instead of once:\n{edit.old}")
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def _check_that_it_compiles(redis_url: str) -> None:
    """A mutant that cannot even be loaded is killed by any test: it would prove nothing."""
    command = [sys.executable, "-c", _COMPILE_LUA, str(COPY), redis_url]
    done = subprocess.run(
        command, env=_environment(), capture_output=True, text=True, timeout=RUN_DEADLINE_S, check=False
    )
    if done.returncode != 0:
        raise ValueError(f"the mutant does not compile:\n{done.stderr}")


def _run_tests(store: str) -> tuple[str, str]:
    """Run what is quick first: when the random walk finds something, it takes its time to say it briefly."""
    verdict, log = _run_pytest(store, "tests/store", f"--ignore={RANDOM_WALK}", f"--timeout={TEST_DEADLINE_S}")
    return _run_pytest(store, RANDOM_WALK) if verdict == "survived" else (verdict, log)


def _run_pytest(store: str, *arguments: str) -> tuple[str, str]:
    spared = "sqlite" if store == "redis" else "redis"
    others = f"not {spared} and not cluster"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-k", others]
    command += ["-p", "no:cacheprovider", *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        log, _ = process.communicate(timeout=RUN_DEADLINE_S)
    except subprocess.TimeoutExpired as error:
        return "took too long", str(error.output)
    finally:
        # Its Redis servers are in its session, and end with it whatever happened.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    verdicts = {PYTEST_PASSED: "survived", PYTEST_FAILED: "killed"}
    return verdicts.get(process.returncode, f"pytest: {process.returncode}"), log


def _environment() -> dict[str, str]:
    paths = [str(COPY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    sys.exit(main(sys.argv[1:]))
