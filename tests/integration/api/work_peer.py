"""A worker on the Work stream whose every frame the test sends and reads."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc

from tailrace.v1 import worker_service_pb2 as pb
from tests.integration.api.serving import CALL_S, Api, Refusal, a_success, a_worker, refusal_of


class WorkPeer:
    """One Work stream. Frames that a test does not expect next fail it; keepalives are passed over."""

    def __init__(self, api: Api) -> None:
        self._call = api.workers.Work(timeout=60)
        self._reading: asyncio.Task[Any] | None = None

    async def say(self, **frame: Any) -> None:
        """Send one frame: ``say(drain=pb.Drain())``."""
        await asyncio.wait_for(self._call.write(pb.WorkRequest(**frame)), CALL_S)

    async def hear(self) -> pb.WorkResponse | None:
        """Read the next frame, keepalives included; None at the end of the stream."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        frame = await asyncio.wait_for(asyncio.shield(self._reading), CALL_S)
        self._reading = None
        if frame is grpc.aio.EOF:
            return None
        assert isinstance(frame, pb.WorkResponse)
        return frame

    async def expect(self, kind: str) -> Any:
        """Read the next frame that is no keepalive; it must be of this kind."""
        while frame := await self.hear():
            if frame.WhichOneof("frame") is not None:
                assert frame.WhichOneof("frame") == kind, frame
                return getattr(frame, kind)
        raise AssertionError(f"the stream ended before {kind}")

    async def hello(
        self,
        *,
        credit: int = 10,
        queues: Sequence[str] = ("default",),
        session_id: str = "",
        held: Sequence[pb.LeaseRef] = (),
        **fields: Any,
    ) -> pb.Welcome:
        """Introduce the worker and read the welcome."""
        flow_control = pb.FlowControl(max_outstanding_tasks=credit)
        worker = fields.pop("worker", a_worker(*queues))
        hello = pb.Hello(
            **{"protocol_version": 1, "worker": worker, "flow_control": flow_control, **fields},
            session_id=session_id,
            held_leases=held,
        )
        await self.say(hello=hello)
        welcome = await self.expect("welcome")
        assert isinstance(welcome, pb.Welcome)
        return welcome

    async def assigned(self, count: int = 1) -> list[pb.Assignment]:
        """Read so many assignments, in however many frames they come."""
        assignments: list[pb.Assignment] = []
        while len(assignments) < count:
            assignments.extend((await self.expect("assignments")).assignments)
        assert len(assignments) == count
        return assignments

    async def start(self, *leases: pb.LeaseRef, waiting: bool = False) -> list[pb.LeaseStatus]:
        """Send a beat for each lease and read the answers."""
        await self.say(beats=pb.LeaseBeats(beats=[pb.LeaseBeat(lease=lease, waiting=waiting) for lease in leases]))
        return list((await self.expect("lease_statuses")).statuses)

    async def finish(self, *results: pb.AttemptResult) -> list[pb.AttemptResultAck]:
        """Send results and read what became of them."""
        await self.say(results=pb.AttemptResults(results=results))
        return list((await self.expect("result_acks")).acks)

    async def succeed(self, *leases: pb.LeaseRef) -> list[pb.AttemptResultAck]:
        return await self.finish(*[a_success(lease) for lease in leases])

    async def release(self, *leases: pb.LeaseRef, **fields: Any) -> list[pb.ReleaseItem]:
        await self.say(releases=pb.LeaseReleases(leases=leases, **fields))
        return list((await self.expect("release_acks")).items)

    async def is_quiet(self) -> bool:
        """Tell whether the server has nothing to say but its answer to an empty beat, sent now."""
        await self.say(beats=pb.LeaseBeats())
        return not (await self.expect("lease_statuses")).statuses

    async def close(self) -> None:
        """Close this side, and see the server end the stream in good order."""
        await asyncio.wait_for(self._call.done_writing(), CALL_S)
        await self.ended()

    async def ended(self) -> None:
        """Read to the end, which must be OK."""
        while await self.hear() is not None:
            pass
        assert await self._call.code() is grpc.StatusCode.OK

    async def refusal(self) -> Refusal:
        """Read to the end, which must be a refusal."""
        try:
            while await self.hear() is not None:
                pass
        except grpc.aio.AioRpcError as error:
            return refusal_of(error)
        raise AssertionError("the stream ended with OK")

    async def close_without_a_word(self) -> None:
        """Close this side before anything was said."""
        await asyncio.wait_for(self._call.done_writing(), CALL_S)

    def break_off(self) -> None:
        """End the stream as a broken connection does."""
        self._call.cancel()
