"""The filter of ListTasks: what it lets pass, and what its author is told of a mistake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.server.api.filter import TaskFilter, parse_filter
from tailrace.server.domain.errors import InvalidRequestError, LimitExceededError
from tailrace.server.domain.limits import MAX_FILTER_BYTES
from tailrace.server.domain.task import TaskState
from tailrace.v1.task_pb2 import TaskSpec

SPEC = TaskSpec(task_type="billing.charge", queue="slow", labels={"customer": "acme", "odd key": 'a "b" \\c'})
NAMES = st.sampled_from(["queue", "task_type", "labels.customer", "labels.a.b/c:d-e_1"])
SPACES = st.text(" \t\r\n", max_size=3)


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def passes(text: str, *, state: TaskState = TaskState.FAILURE, spec: TaskSpec = SPEC) -> bool:
    wanted = parse_filter(text)
    return wanted.passes_state(state) and wanted.passes_spec(spec)


def complaint_of(text: str) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        parse_filter(text)
    (violation,) = caught.value.violations
    assert violation.field == "filter"
    return violation.description


@pytest.mark.parametrize("text", ["", " ", "\t\r\n"])
def test_empty_filter_lets_everything_pass_without_a_look_at_what_was_submitted(text: str) -> None:
    assert parse_filter(text) == TaskFilter()
    assert not parse_filter(text).needs_spec


@pytest.mark.parametrize(
    "text",
    [
        'state = "FAILURE"',
        'state="FAILURE"',
        'queue = "slow"',
        'task_type = "billing.charge"',
        'labels.customer = "acme"',
        'labels."customer" = "acme"',
        'labels."odd key" = "a \\"b\\" \\\\c"',
        'state = "FAILURE" AND queue = "slow" AND labels.customer = "acme"',
        '\n queue\t=\n"slow"\r\nAND\nstate = "FAILURE" ',
        'queue="slow"AND state="FAILURE"',
    ],
)
def test_task_that_is_as_wanted_passes(text: str) -> None:
    assert passes(text)


@pytest.mark.parametrize(
    "text",
    [
        'state = "REVOKED"',
        'queue = "slo"',
        'queue = "SLOW"',
        'task_type = "billing"',
        'labels.customer = ""',
        'labels.country = ""',
        'labels."labels.customer" = "acme"',
        'state = "FAILURE" AND state = "REVOKED"',
        'queue = "slow" AND task_type = "other"',
    ],
)
def test_task_that_is_otherwise_does_not(text: str) -> None:
    assert not passes(text)


def test_label_that_is_not_there_is_not_added_by_looking_for_it() -> None:
    spec = TaskSpec()

    assert not passes('labels.country = ""', spec=spec)
    assert dict(spec.labels) == {}


@pytest.mark.parametrize("state", TaskState)
def test_each_state_has_its_name(state: TaskState) -> None:
    wanted = parse_filter(f'state = "{state}"')

    assert {each for each in TaskState if wanted.passes_state(each)} == {state}
    assert not wanted.needs_spec


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("priority = 3", "at character 1: expected state, queue, task_type or labels.KEY"),
        ('STATE = "FAILURE"', "at character 1: expected state, queue, task_type or labels.KEY"),
        ('labels = "a"', "at character 1: expected state, queue, task_type or labels.KEY"),
        ('labels. = "a"', 'at character 8: expected a "VALUE" in double quotes'),
        ("queue", "at character 6: expected = after queue"),
        ('queue != "slow"', "at character 7: expected = after queue"),
        ('queue: "slow"', "at character 6: expected = after queue"),
        ("queue = slow", 'at character 9: expected a "VALUE" in double quotes'),
        ("queue = 'slow'", 'at character 9: expected a "VALUE" in double quotes'),
        ('queue = "slow', 'at character 9: expected a "VALUE" in double quotes'),
        (
            'queue = "a\\n"',
            'at character 9: expected a "VALUE" in double quotes, in which only \\" and \\\\ are escapes',
        ),
        (
            'state = "failure"',
            "at character 9: state must be one of PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED",
        ),
        ('state = "TASK_STATE_FAILURE"', "at character 9: state must be one of PENDING"),
        ('queue = "a" queue = "b"', "expected AND (in capitals)"),
        ('queue = "a" and state = "RETRY"', "expected AND (in capitals)"),
        ('queue = "a" OR state = "RETRY"', "expected AND (in capitals)"),
        ('queue = "a", state = "RETRY"', "at character 12: expected AND (in capitals)"),
        ('queue = "a" AND', "at character 16: expected state, queue, task_type or labels.KEY"),
        ('AND queue = "a"', "at character 1: expected state, queue, task_type or labels.KEY"),
        ('NOT queue = "a"', "at character 1: expected state, queue, task_type or labels.KEY"),
        ('(queue = "a")', "at character 1: expected state, queue, task_type or labels.KEY"),
        ('queue = "a"\0', "at character 12: expected AND (in capitals)"),
    ],
)
def test_mistake_is_named_with_its_place(text: str, complaint: str) -> None:
    assert complaint in complaint_of(text)


@pytest.mark.parametrize("text", ["x" * (MAX_FILTER_BYTES + 1), "\N{SNOWMAN}" * MAX_FILTER_BYTES, '"' * (1 << 20)])
def test_filter_over_the_limit_is_not_read(text: str) -> None:
    with pytest.raises(LimitExceededError, match="filter"):
        parse_filter(text)


@given(terms=st.lists(st.tuples(NAMES, st.text(max_size=20)), min_size=1, max_size=5), space=SPACES)
def test_whatever_the_values_are_they_come_back_as_they_were_meant(terms: list[tuple[str, str]], space: str) -> None:
    text = f"{space} AND{space} ".join(f"{name}{space}={space}{quoted(value)}" for name, value in terms)

    wanted = parse_filter(text)

    fields = tuple((name, value) for name, value in terms if not name.startswith("labels."))
    labels = tuple((name.removeprefix("labels."), value) for name, value in terms if name.startswith("labels."))
    assert (wanted.fields, wanted.labels, wanted.states) == (fields, labels, ())


@given(key=st.text(max_size=20), value=st.text(max_size=20))
def test_every_label_can_be_asked_for(key: str, value: str) -> None:
    spec = TaskSpec(labels={key: value})

    assert passes(f"labels.{quoted(key)} = {quoted(value)}", spec=spec)


@given(st.one_of(st.text(max_size=50), st.text('statequeue"\\= \nAND.labels', max_size=50)))
def test_any_text_is_either_a_filter_or_the_fault_of_the_field(text: str) -> None:
    blank = not text.strip(" \t\r\n")
    try:
        is_everything = parse_filter(text) == TaskFilter()
    except InvalidRequestError as error:
        fields, is_everything = [violation.field for violation in error.violations], False
    else:
        fields = ["filter"]

    assert (fields, is_everything) == (["filter"], blank)
