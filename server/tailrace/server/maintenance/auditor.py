"""Walks through all records, slowly and for ever, and has the store put right whatever index differs from them.

There should be nothing to repair: the walk is what makes a mistake of ours, or of somebody who edits the database, an
entry in the log instead of a task that nobody ever sees again.
"""

import asyncio
import random
from collections import Counter

import structlog

from tailrace.server.domain.errors import StoreUnavailableError
from tailrace.server.maintenance.duty import CALL_DEADLINE_S
from tailrace.server.store.base import Store

STEP = 100
REST_S = 0.5
"""Two hundred records a second, over all partitions: a million take an hour and a half."""
WALK_REST_S = 30.0
"""Between two walks: where there is little to look at, it is not looked at all the time."""

logger = structlog.get_logger(__name__)


class Auditor:
    """One walk per process, whatever the number of partitions, so that it costs as little as there is to find."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._partition = random.randrange(store.partitions)
        self._cursor = ""
        self._partitions_left = store.partitions
        """Of this walk; 0: it is over."""
        self.audit_repairs: Counter[str] = Counter()
        """How often what was put right since the start, by name."""

    async def run(self) -> None:
        """Walk until cancelled. A store that does not answer is tried again at the same place."""
        while True:
            rest_s = REST_S if self._partitions_left else WALK_REST_S
            # The spread keeps several server processes from auditing in step.
            await asyncio.sleep(rest_s * random.uniform(0.9, 1.1))
            try:
                async with asyncio.timeout(CALL_DEADLINE_S):
                    await self.step()
            except (StoreUnavailableError, TimeoutError) as error:
                logger.warning("audit_failed", partition=self._partition, error=str(error))
            except Exception:
                logger.exception("audit_failed", partition=self._partition)
                self._move_on("")

    async def step(self) -> None:
        """Look at the next few records.

        Raises:
            StoreUnavailableError: The store did not answer.
        """
        self._partitions_left = self._partitions_left or self._store.partitions
        audited = await self._store.audit_tasks(self._partition, self._cursor, STEP)
        if audited.repairs:
            self.audit_repairs.update(audited.repairs)
            logger.warning("indexes_repaired", partition=self._partition, repairs=dict(audited.repairs))
        self._move_on(audited.cursor)

    def _move_on(self, cursor: str) -> None:
        self._cursor = cursor
        if not cursor:
            self._partitions_left -= 1
            self._partition = (self._partition + 1) % self._store.partitions
