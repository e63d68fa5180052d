"""Tailrace at work: a server, a worker, and some hundred tasks over the files of this checkout. `make demo` runs it."""

import sys
import tempfile
import time
from pathlib import Path

import grpc
from rich.console import Console

from examples.demo.jobs import Job, jobs_for
from examples.demo.processes import server_and_worker
from examples.demo.report import Ending, show_progress, table_of
from tailrace.client import AsyncResult, Client
from tailrace.v1 import task_service_pb2, task_service_pb2_grpc

CHECKOUT = Path(__file__).resolve().parent.parent.parent
WITHIN_S = 60.0


def main() -> int:
    """Run the demo; 0 when everything came out as expected."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    with (
        tempfile.TemporaryDirectory(prefix="tailrace-demo-") as scratch,
        server_and_worker(Path(scratch)) as address,
        Client(address) as client,
    ):
        began = time.monotonic()
        client.options(queue="demo").submit("count_words", str(CHECKOUT / "README.md")).get(timeout=WITHIN_S)
        console.print(f"A server on {address} and a worker are up; first result after {_ms(began)} ms.")
        jobs = jobs_for(CHECKOUT, Path(scratch))
        endings, failed = run(console, client, address, jobs)
        console.print(table_of(endings))
        is_raised = show_failure(console, failed)
    unexpected = [ending for ending in endings if not ending.is_expected]
    for ending in unexpected[:10]:
        wanted = (ending.job.state, ending.job.value, ending.job.attempts)
        came = (ending.state, ending.value, ending.attempts)
        console.print(f"{ending.job.task_type}{ending.job.args}: {came}, not {wanted}", style="red", markup=False)
    return 0 if is_raised and not unexpected and len(endings) == len(jobs) else 1


def run(console: Console, client: Client, address: str, jobs: list[Job]) -> tuple[list[Ending], AsyncResult]:
    """Submit all jobs and wait for all ends; also gives the task that failed."""
    by_id: dict[str, Job] = {}
    submitted_at: dict[str, float] = {}
    results: list[AsyncResult] = []
    submitting = client.options(queue="demo")
    for task_type in dict.fromkeys(job.task_type for job in jobs):
        batch = [job for job in jobs if job.task_type == task_type]
        began = time.monotonic()
        for job, result in zip(batch, submitting.map(task_type, [job.args for job in batch]), strict=True):
            by_id[result.id], submitted_at[result.id] = job, began
            results.append(result)

    latency_s: dict[str, float] = {}
    for result in show_progress(console, client.as_completed(results, timeout=WITHIN_S), len(results)):
        latency_s[result.id] = time.monotonic() - submitted_at[result.id]

    attempts = ask_attempts(address, list(by_id))
    endings = [
        Ending(
            job=by_id[result.id],
            state=str(result.state),
            value=result.get(timeout=WITHIN_S) if result.successful() else None,
            attempts=attempts[result.id],
            latency_s=latency_s[result.id],
        )
        for result in results
    ]
    return endings, next(result for result in results if by_id[result.id].state == "FAILURE")


def ask_attempts(address: str, task_ids: list[str]) -> dict[str, int]:
    """Ask for what the SDK keeps to itself, with nothing but the generated stubs, as any language could."""
    with grpc.insecure_channel(address) as channel:
        request = task_service_pb2.BatchGetResultsRequest(task_ids=task_ids)
        answer = task_service_pb2_grpc.TaskServiceStub(channel).BatchGetResults(request, timeout=10)
    return {item.task_id: item.task.attempt for item in answer.items}


def show_failure(console: Console, failed: AsyncResult) -> bool:
    """Raise here what a task raised in the worker, and show where it came from; tells whether it did."""
    try:
        failed.get(timeout=WITHIN_S)
    except ZeroDivisionError as error:
        console.print(f"\nget() raised what the task raised: {error!r}. The worker's traceback came with it:\n")
        console.print(failed.traceback, markup=False, highlight=False, soft_wrap=True)
        return True
    return False


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


if __name__ == "__main__":
    sys.exit(main())
