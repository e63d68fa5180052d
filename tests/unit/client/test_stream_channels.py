"""Which stream goes over which channel."""

import pytest

from tailrace.client._channel import STREAMS_PER_CHANNEL, call_channel_options, stream_channel_options
from tailrace.client._stream_channels import StreamChannels

Channels = StreamChannels[int, str]


@pytest.fixture
def channels() -> Channels:
    numbers = iter(range(1000))
    return StreamChannels(lambda: next(numbers), lambda channel: f"stub {channel}", streams_per_channel=2)


def test_streams_share_a_channel_until_it_is_full(channels: Channels) -> None:
    with channels.lend() as first, channels.lend() as second, channels.lend() as third:
        assert [first, second, third] == ["stub 0", "stub 0", "stub 1"]


def test_the_first_channel_with_room_is_taken_again(channels: Channels) -> None:
    with channels.lend():
        with channels.lend(), channels.lend():
            pass
        with channels.lend() as again:
            assert again == "stub 0"


def test_a_stream_that_fails_gives_its_place_back(channels: Channels) -> None:
    for _ in range(5):
        with pytest.raises(LookupError), channels.lend() as stub:
            raise LookupError
        assert stub == "stub 0"


def test_all_channels_are_given_up_to_be_closed(channels: Channels) -> None:
    with channels.lend(), channels.lend(), channels.lend():
        assert channels.remove_all() == [0, 1]
    assert channels.remove_all() == []


def test_a_channel_carries_far_fewer_streams_than_a_connection_allows() -> None:
    assert STREAMS_PER_CHANNEL < 128


def test_streams_do_not_share_a_connection_with_calls() -> None:
    assert ("grpc.use_local_subchannel_pool", 1) in stream_channel_options()
    assert ("grpc.use_local_subchannel_pool", 1) not in call_channel_options()


def test_a_lost_connection_is_tried_again_every_two_seconds_at_least() -> None:
    assert dict(call_channel_options())["grpc.max_reconnect_backoff_ms"] == 2000
