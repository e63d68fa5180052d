"""The embedded store's clock: that of the machine, but never backwards."""

from tailrace.server.store.sqlite.clock import SteadyClock

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


class Machine:
    """A machine whose clock can be set, and on which time passes."""

    def __init__(self) -> None:
        self.wall_ns = NOW_MS * 1_000_000
        self.monotonic_ns = 5
        self.clock = SteadyClock(lambda: self.wall_ns, lambda: self.monotonic_ns)

    def pass_ns(self, ns: int) -> None:
        self.wall_ns += ns
        self.monotonic_ns += ns

    def pass_ms(self, ms: int) -> None:
        self.pass_ns(ms * 1_000_000)

    def set_by_ms(self, ms: int) -> None:
        self.wall_ns += ms * 1_000_000


def test_it_shows_what_the_machine_shows() -> None:
    machine = Machine()
    assert machine.clock() == NOW_MS

    machine.pass_ms(HOUR_MS)

    assert machine.clock() == NOW_MS + HOUR_MS


def test_it_follows_a_clock_that_is_set_forwards_at_once() -> None:
    machine = Machine()

    machine.set_by_ms(HOUR_MS)

    assert machine.clock() == NOW_MS + HOUR_MS


def test_set_back_an_hour_it_goes_on_instead_of_standing_still() -> None:
    machine = Machine()
    machine.set_by_ms(-HOUR_MS)
    assert machine.clock() == NOW_MS

    machine.pass_ms(10_000)

    assert machine.clock() == NOW_MS + 9_000


def test_the_machine_catches_up_with_it_in_the_end() -> None:
    machine = Machine()
    machine.set_by_ms(-HOUR_MS)
    machine.pass_ms(10 * HOUR_MS)

    assert machine.clock() == NOW_MS + 9 * HOUR_MS
    machine.pass_ms(HOUR_MS)

    assert machine.clock() == NOW_MS + 10 * HOUR_MS


def test_asked_all_the_time_it_goes_on_as_fast_as_asked_seldom() -> None:
    machine = Machine()
    machine.set_by_ms(-HOUR_MS)

    for _ in range(1_000):
        machine.pass_ns(100_000)
        machine.clock()

    assert machine.clock() == NOW_MS + 90


def test_it_goes_on_from_what_was_shown_before() -> None:
    machine = Machine()

    assert machine.clock.go_on_from(NOW_MS + HOUR_MS) == HOUR_MS

    assert machine.clock() == NOW_MS + HOUR_MS


def test_what_was_shown_before_does_not_hold_it_up() -> None:
    machine = Machine()

    assert machine.clock.go_on_from(NOW_MS - HOUR_MS) == 0

    assert machine.clock() == NOW_MS
