"""Who notices that nothing comes."""

import threading

from tailrace.client._silence_watch import SilenceWatch


class Call:
    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()


def watch_threads() -> int:
    return sum(thread.name == "tailrace-silence-watch" for thread in threading.enumerate())


def test_a_read_past_the_limit_is_cancelled() -> None:
    watch, call = SilenceWatch(limit_s=0.1), Call()

    with watch.reading(call):
        assert call.cancelled.wait(10)


def test_a_program_slow_to_read_is_not_a_server_gone_silent() -> None:
    watch, slow, silent = SilenceWatch(limit_s=0.1), Call(), Call()
    with watch.reading(slow):
        pass

    with watch.reading(silent):
        assert silent.cancelled.wait(10)

    assert not slow.cancelled.is_set()


def test_a_call_is_watched_anew_with_every_read() -> None:
    watch, call = SilenceWatch(limit_s=0.1), Call()
    with watch.reading(call):
        pass

    with watch.reading(call):
        assert call.cancelled.wait(10)


def test_all_streams_share_one_thread_and_closing_ends_it() -> None:
    before = watch_threads()
    watch = SilenceWatch(limit_s=50)

    with watch.reading(Call()), watch.reading(Call()):
        assert watch_threads() == before + 1
        (thread,) = [each for each in threading.enumerate() if each is watch._thread]
        watch.close()
        thread.join(10)

    assert not thread.is_alive()


def test_the_thread_ends_by_itself_when_nothing_is_read() -> None:
    watch = SilenceWatch(limit_s=0.05)
    with watch.reading(Call()):
        thread = watch._thread

    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    assert watch._thread is None
