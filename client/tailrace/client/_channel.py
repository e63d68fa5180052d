"""The options of every channel, and who may use how much of it.

What notices a connection that went bad:

- A refused or reset connection: gRPC at once, as UNAVAILABLE.
- A peer whose machine vanished: keepalive pings, after 30 s + 10 s, as UNAVAILABLE.
- A proxy that answers pings while nothing behind it moves, or a server that is stuck: only the lack of messages.
  A unary call has its deadline, a stream is given up after 50 s of silence.
"""

from typing import Final

ChannelOptions = list[tuple[str, int]]

STREAMS_PER_CHANNEL: Final = 100
"""A stream beyond a connection's limit does not fail, it waits without a word. Our server allows 1024 a connection,
many proxies 128."""

_OPTIONS: Final[ChannelOptions] = [
    # gRPC's own maximum is two minutes: an outage of 45 s would be noticed to be over after 70.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Servers take pings every 20 s. 0: also on streams where nothing else is sent, which is where they matter.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Servers send 4 MiB at most; room for one that was set up otherwise.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
]


def call_channel_options() -> ChannelOptions:
    """Return the options of the channel for unary calls."""
    return list(_OPTIONS)


def stream_channel_options() -> ChannelOptions:
    """Return the options of a channel for streams: one with a connection of its own."""
    # Channels to one address share a connection otherwise, and with it the limit on streams.
    return [*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
