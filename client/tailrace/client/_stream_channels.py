"""StreamChannels: as many channels as the open streams need."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from tailrace.client._channel import STREAMS_PER_CHANNEL

ChannelT = TypeVar("ChannelT")
StubT = TypeVar("StubT")


@dataclass(slots=True)
class _Member(Generic[ChannelT, StubT]):
    channel: ChannelT
    stub: StubT
    streams: int = 0


class StreamChannels(Generic[ChannelT, StubT]):
    """Spreads streams over channels so that none carries too many.

    The first channel with room is taken, so that after a peak the later ones fall idle, and gRPC drops the connection
    of a channel that has been idle for half an hour. The channels themselves are kept: making them is what costs.
    """

    def __init__(
        self,
        open_channel: Callable[[], ChannelT],
        make_stub: Callable[[ChannelT], StubT],
        *,
        streams_per_channel: int = STREAMS_PER_CHANNEL,
    ) -> None:
        self._open_channel = open_channel
        self._make_stub = make_stub
        self._streams_per_channel = streams_per_channel
        self._members: list[_Member[ChannelT, StubT]] = []
        # A stream that is given back because its reader was collected may be so while another one is lent.
        self._lock = threading.RLock()

    @contextmanager
    def lend(self) -> Generator[StubT, None, None]:
        """Lend a stub for one stream, until the block ends. Safe from any thread."""
        with self._lock:
            member = self._member_with_room()
            member.streams += 1
        try:
            yield member.stub
        finally:
            with self._lock:
                member.streams -= 1

    def remove_all(self) -> list[ChannelT]:
        """Return every channel, to be closed, and forget them."""
        with self._lock:
            members, self._members = self._members, []
        return [member.channel for member in members]

    def _member_with_room(self) -> _Member[ChannelT, StubT]:
        for member in self._members:
            if member.streams < self._streams_per_channel:
                return member
        channel = self._open_channel()
        member = _Member(channel=channel, stub=self._make_stub(channel))
        self._members.append(member)
        return member
