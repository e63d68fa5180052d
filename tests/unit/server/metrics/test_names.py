"""Labels that callers choose stay few."""

from tailrace.server.metrics.names import MAX_NAMES, MAX_PAIRS, OTHER, Names


def test_a_name_that_came_early_keeps_its_label() -> None:
    names = Names(max_names=2)

    labels = [names.queue(queue) for queue in ("one", "two", "three", "one", "four")]

    assert labels == ["one", "two", OTHER, "one", OTHER]


def test_queues_and_task_types_have_room_of_their_own() -> None:
    names = Names(max_names=1)

    assert (names.queue("one"), names.task_type("two"), names.task_type("one")) == ("one", "two", OTHER)


def test_where_pairs_are_too_many_the_queue_is_still_told() -> None:
    names = Names(max_pairs=2)

    pairs = [names.pair(queue, task_type) for queue, task_type in ("aa", "ab", "ba", "bb", "aa")]

    assert pairs == [("a", "a"), ("a", "b"), ("b", OTHER), ("b", OTHER), ("a", "a")]


def test_labels_stay_few_whatever_comes() -> None:
    names = Names()

    pairs = {names.pair(f"queue-{number % 991}", f"type-{number}") for number in range(20_000)}

    assert len({queue for queue, _ in pairs}) == MAX_NAMES + 1
    assert len({task_type for _, task_type in pairs}) == MAX_NAMES + 1
    assert len(pairs) <= MAX_PAIRS + MAX_NAMES + 1


def test_no_name_means_the_rest() -> None:
    assert Names().task_type("") == OTHER
