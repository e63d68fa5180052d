"""The use cases: what each item of a call is answered, wherever it lives and whatever shares a store call with it."""

import asyncio
from pathlib import Path

from tailrace.server.coordinator.coordinator import Coordinator
from tailrace.server.store.base import MAX_CALL_BYTES
from tests.store.builders import a_submission, a_success
from tests.store.sqlite_harness import open_sqlite
from tests.store.steps import Steps


async def test_outcome_is_read_whole_though_others_take_the_room_in_its_call(tmp_path: Path) -> None:
    names = ["first", "large", "as large", "as large again"]
    async with open_sqlite(tmp_path) as harness:
        steps = Steps(harness)
        for name in names:
            delivery = await steps.submit_and_start(a_submission(name))
            await steps.end(a_success(name, delivery.lease_token, result=bytes(MAX_CALL_BYTES)))
        coordinator = Coordinator(harness.store)

        together = asyncio.create_task(coordinator.read(names))
        one_by_one = await asyncio.gather(*[coordinator.read_whole(name) for name in names])

    assert [getattr(outcome, "is_whole", None) for outcome in await together] == [True, False, False, False]
    assert [outcome and len(outcome.result or b"") for outcome in one_by_one] == [MAX_CALL_BYTES] * len(names)
