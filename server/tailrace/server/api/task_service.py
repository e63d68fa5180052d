"""TaskService: for programs that submit tasks and want their results."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence

from tailrace.server.api import render
from tailrace.server.api.handler import Context, OpenCalls
from tailrace.server.api.looking import Looking
from tailrace.server.api.parse_fields import TASK_ID, check_count, check_name, check_size, is_task_id, span_ms
from tailrace.server.api.parse_revoke import parse_revocations
from tailrace.server.api.parse_task import parse_submission
from tailrace.server.api.server_info import server_info
from tailrace.server.api.submit_items import parse_items, submissions_of, submit_item, submit_response
from tailrace.server.api.tracing import texts_of
from tailrace.server.api.violations import Violations, invalid
from tailrace.server.api.wait_stream import WaitStream, parse_wait
from tailrace.server.api.watch_stream import WatchStream
from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.domain import limits
from tailrace.server.domain.errors import StoreUnavailableError, TailraceError, TaskNotFoundError
from tailrace.server.domain.task import Submission, TaskSnapshot
from tailrace.server.waiting.waiting import Waiting
from tailrace.v1 import task_service_pb2 as pb
from tailrace.v1.task_service_pb2_grpc import TaskServiceServicer

READ_STEP = 64
"""Results read at a time: a batch of large ones is not to be held in memory whole."""


class TaskService(TaskServiceServicer):
    """Parses, calls, renders."""

    def __init__(
        self, coordinator: Coordinator, waiting: Waiting, looking: Looking, calls: OpenCalls, *, max_payload_bytes: int
    ) -> None:
        self._coordinator = coordinator
        self._looking = looking
        self._waiting = waiting
        self._calls = calls
        self._max_payload_bytes = max_payload_bytes

    async def Submit(self, request: pb.SubmitRequest, context: Context) -> pb.SubmitResponse:
        """Accept one task."""
        submission = parse_submission(request, max_payload_bytes=self._max_payload_bytes)
        outcome = (await self._coordinator.submit([submission]))[0]
        if isinstance(outcome, StoreUnavailableError):
            raise StoreUnavailableError(str(outcome), metadata={"task_id": submission.task_id})
        if isinstance(outcome, TailraceError):
            raise outcome
        return submit_response(outcome)

    async def BatchSubmit(self, request: pb.BatchSubmitRequest, context: Context) -> pb.BatchSubmitResponse:
        """Accept many, each by itself."""
        check_count("requests", request.requests, limit=limits.MAX_BATCH_ITEMS, minimum=1)
        check_size("requests", request.ByteSize())
        parsed = parse_items(request.requests, field="requests", max_payload_bytes=self._max_payload_bytes)
        outcomes = iter(await self._coordinator.submit(submissions_of(parsed)))
        items = [
            submit_item(task_id, next(outcomes) if isinstance(item, Submission) else item) for task_id, item in parsed
        ]
        return pb.BatchSubmitResponse(items=items)

    async def GetResult(self, request: pb.GetResultRequest, context: Context) -> pb.GetResultResponse:
        """Read one outcome, or wait for it."""
        violations = Violations()
        check_name(violations, "task_id", request.task_id, TASK_ID)
        if request.after_revision < 0:
            violations.add("after_revision", "must not be negative")
        wait_ms = span_ms(violations, "wait_timeout", request.wait_timeout, maximum_ms=limits.MAX_WAIT_TIMEOUT_MS)
        violations.raise_if_any()
        snapshot = await self._read_one(request.task_id)
        if wait_ms and not snapshot.is_done and request.after_revision in {0, snapshot.revision}:
            snapshot = await self._wait_for_one(request, snapshot, wait_ms)
        return pb.GetResultResponse(task=render.task_result(snapshot))

    async def BatchGetResults(self, request: pb.BatchGetResultsRequest, context: Context) -> pb.BatchGetResultsResponse:
        """Read many outcomes, as many as fit into the answer."""
        check_count("task_ids", request.task_ids, limit=limits.MAX_BATCH_ITEMS, minimum=1)
        check_size("task_ids", request.ByteSize(), limit=limits.MAX_TASK_IDS_BYTES)
        asked = list(request.task_ids)
        response = pb.BatchGetResultsResponse()
        size_bytes = 0
        away: dict[int, StoreUnavailableError] = {}
        for begin in range(0, len(asked), READ_STEP):
            step = asked[begin : begin + READ_STEP]
            outcomes = await self._read_valid(step, away)
            for task_id in step:
                item = _result_item(task_id, await self._whole(task_id, outcomes))
                size_bytes += item.ByteSize()
                if response.items and size_bytes > limits.FILL_MESSAGE_BYTES:
                    response.remaining_task_ids.extend(asked[len(response.items) :])
                    return response
                response.items.append(item)
        return response

    async def WaitFor(self, request: pb.WaitForRequest, context: Context) -> None:  # type: ignore[override]  # writes to the context instead of yielding
        """Stream outcomes until the condition holds."""
        wait = parse_wait(request)
        await WaitStream(wait, self._waiting, self._calls.draining, context.write).run()

    async def Watch(  # type: ignore[override]  # requests with their size in, writes to the context
        self, requests: AsyncIterator[tuple[pb.WatchRequest, int]], context: Context
    ) -> None:
        """Follow tasks, and accept some, for as long as the stream lives; each request comes with its size."""
        stream = WatchStream(
            coordinator=self._coordinator,
            waiting=self._waiting,
            draining=self._calls.draining,
            write=context.write,
            max_payload_bytes=self._max_payload_bytes,
        )
        await stream.run(requests)

    async def GetTask(self, request: pb.GetTaskRequest, context: Context) -> pb.GetTaskResponse:
        """Read one record."""
        return await self._looking.get_task(request)

    async def ListTasks(self, request: pb.ListTasksRequest, context: Context) -> pb.ListTasksResponse:
        """Look through records."""
        return await self._looking.list_tasks(request)

    async def Revoke(self, request: pb.RevokeRequest, context: Context) -> pb.RevokeResponse:
        """Keep tasks from running, or ask them to stop, each by itself."""
        revocations = parse_revocations(request)
        outcomes = dict(
            zip(
                (revocation.task_id for revocation in revocations),
                await self._coordinator.revoke(revocations),
                strict=True,
            )
        )
        return pb.RevokeResponse(items=[_revoke_item(task_id, outcomes) for task_id in request.task_ids])

    async def ResubmitTask(self, request: pb.ResubmitTaskRequest, context: Context) -> pb.ResubmitTaskResponse:
        """Run a task again."""
        return await self._looking.resubmit_task(request, texts_of(context.invocation_metadata()))

    async def DeleteTask(self, request: pb.DeleteTaskRequest, context: Context) -> pb.DeleteTaskResponse:
        """Delete one record."""
        return await self._looking.delete_task(request)

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, context: Context) -> pb.GetServerInfoResponse:
        """Tell version and limits."""
        return server_info(max_payload_bytes=self._max_payload_bytes)

    async def _read_one(self, task_id: str) -> TaskSnapshot:
        outcome = await self._coordinator.read_whole(task_id)
        if outcome is None:
            raise TaskNotFoundError(task_id)
        return outcome

    async def _read_valid(
        self, task_ids: Sequence[str], away: dict[int, StoreUnavailableError]
    ) -> dict[str, TaskSnapshot | TailraceError | None]:
        """Read outcomes; a partition that did not answer once, and is in ``away`` then, is not asked again."""
        partitions = {task_id: self._coordinator.partition_of(task_id) for task_id in task_ids if is_task_id(task_id)}
        present = [task_id for task_id, partition in partitions.items() if partition not in away]
        outcomes = dict(zip(present, await self._coordinator.read(present), strict=True))
        for task_id, outcome in outcomes.items():
            if isinstance(outcome, StoreUnavailableError):
                away[partitions[task_id]] = outcome
        return {task_id: away.get(partition) or outcomes[task_id] for task_id, partition in partitions.items()}

    async def _whole(
        self, task_id: str, outcomes: Mapping[str, TaskSnapshot | TailraceError | None]
    ) -> TaskSnapshot | TailraceError:
        """Give what is to be told of an id, reading again what was left out when many were read."""
        if task_id not in outcomes:
            return invalid("task_ids", f"must match {TASK_ID.pattern}")
        outcome = outcomes[task_id]
        if isinstance(outcome, TaskSnapshot) and not outcome.is_whole:
            try:
                outcome = await self._coordinator.read_whole(task_id)
            except TailraceError as error:
                return error
        return outcome or TaskNotFoundError(task_id)

    async def _wait_for_one(self, request: pb.GetResultRequest, snapshot: TaskSnapshot, wait_ms: int) -> TaskSnapshot:
        """Wait until the task is done or, when a revision was named, has another one; tell what is when time is up."""
        subscription = self._waiting.subscribe(
            {request.task_id: snapshot.revision}, done_only=request.after_revision == 0
        )
        drained = asyncio.create_task(self._calls.draining.wait())
        drained.add_done_callback(lambda _: subscription.wake())
        until = time.monotonic() + wait_ms / 1_000
        try:
            while not self._calls.draining.is_set() and (left_s := until - time.monotonic()) > 0:
                await subscription.wait(left_s)
                news = await subscription.take()
                if news.not_found:
                    raise TaskNotFoundError(request.task_id)
                for changed in news.snapshots:
                    if changed.is_done or request.after_revision:
                        return changed
        finally:
            drained.cancel()
            subscription.close()
        # Changes that were no end were not followed, so what was read at first may be old.
        return await self._read_one(request.task_id)


def _result_item(task_id: str, outcome: TaskSnapshot | TailraceError) -> pb.BatchGetResultsResponse.Item:
    item = pb.BatchGetResultsResponse.Item(task_id=render.echo(task_id))
    if isinstance(outcome, TaskSnapshot):
        item.task.CopyFrom(render.task_result(outcome))
    else:
        item.error.CopyFrom(render.item_error(outcome))
    return item


def _revoke_item(task_id: str, outcomes: Mapping[str, TaskSnapshot | TailraceError]) -> pb.RevokeResponse.Item:
    outcome = outcomes[task_id] if task_id in outcomes else invalid("task_ids", f"must match {TASK_ID.pattern}")
    if isinstance(outcome, TailraceError):
        return pb.RevokeResponse.Item(task_id=render.echo(task_id), error=render.item_error(outcome))
    return pb.RevokeResponse.Item(task_id=task_id, task=render.task_result(outcome))
