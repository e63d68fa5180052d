"""What the shop asks of its tasks, with Tailrace. `celery_calls.py` has the same functions in the same order."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from examples.from_celery import outside
from examples.from_celery import tailrace_tasks as tasks
from tailrace.client import Client, Progress, TaskNotFoundError

Seen = dict[str, Any]
"""What a caller finds out: the state, and either the value or the error's type and message."""

WITHIN_S = 30.0

client = Client()
client.register_exception(outside.OutOfStockError)


def look_at(task_id: str, *, within_s: float = WITHIN_S) -> Seen:
    result = client.result(task_id)
    try:
        return {"value": result.get(timeout=within_s), "state": str(result.state)}
    except Exception as error:  # noqa: BLE001 (what the task raised, whatever it is)
        seen = {"error": type(error).__name__, "message": str(error)}
        return seen if isinstance(error, TaskNotFoundError) else {**seen, "state": str(result.state)}


def state_of(task_id: str) -> str:
    return str(client.result(task_id).state)


def plain_result() -> Seen:
    return look_at(client.submit(tasks.price, 3, size="10x15").id)


def ignored_result(page: str) -> Seen:
    result = client.options(**tasks.COUNT_VIEW).submit(tasks.count_view, page)
    return {"id": result.id, "value": result.get(timeout=WITHIN_S)}


def retried_with_backoff(url: str) -> Seen:
    return look_at(client.submit(tasks.fetch_photo, url, refusals=2).id)


def retried_when_the_task_says(order: str) -> Seen:
    return look_at(client.submit(tasks.charge, order).id)


def retried_too_often(order: str) -> Seen:
    return look_at(client.submit(tasks.notify, order).id)


def cut_short_at_its_soft_limit() -> Seen:
    return look_at(client.options(**tasks.THUMBNAILS).submit(tasks.thumbnails, 1000).id)


def ended_at_its_hard_limit() -> Seen:
    return look_at(client.options(**tasks.POSTER).submit(tasks.poster, 600).id)


def after_a_countdown(order: str) -> Seen:
    began = time.time()
    seen = look_at(client.options(delay=timedelta(seconds=1)).submit(tasks.remind, order).id)
    return seen | {"waited": outside.visits("customer", order)[0] - began >= 1}


def at_an_eta(order: str) -> Seen:
    eta = datetime.now(UTC) + timedelta(seconds=1)
    seen = look_at(client.options(schedule_time=eta).submit(tasks.remind, order).id)
    return seen | {"waited": outside.visits("customer", order)[0] >= eta.timestamp()}


def revoked_before_its_time(order: str) -> Seen:
    result = client.options(delay=timedelta(minutes=1)).submit(tasks.remind, order)
    return {"answer": str(result.revoke(reason="not wanted"))} | look_at(result.id)


def revoked_while_it_runs(roll: str) -> Seen:
    result = client.result(begun(roll))
    result.revoke(reason="not wanted")
    return look_at(result.id)


def watched_while_it_runs(roll: str) -> Seen:
    result = client.options(**tasks.DEVELOP).submit(tasks.develop, roll, 4)
    seen: Seen = {}

    def show(progress: Progress) -> None:
        if progress.current == 4:
            seen.update({"state then": str(result.state)})
            seen.update({"progress": {"current": progress.current, "total": progress.total}})
            outside.approve(roll)

    result.wait(WITHIN_S, on_progress=show)
    return seen | look_at(result.id)


def many_at_once() -> Seen:
    results = client.map(tasks.price, [(count, "10x15") for count in (3, 1, 2)])
    return {"values": client.gather(results, timeout=WITHIN_S)}


def many_of_which_one_fails() -> Seen:
    results = [
        client.submit(tasks.price, 3, "10x15"),
        client.submit(tasks.order_paper, 500),
        client.submit(tasks.price, 1, "10x15"),
    ]
    try:
        return {"values": client.gather(results, timeout=WITHIN_S)}
    except outside.OutOfStockError as error:
        rest = client.gather(results, timeout=WITHIN_S, return_exceptions=True)
        return {"raised": str(error), "all": [repr(each) for each in rest]}


def own_exception() -> Seen:
    result = client.submit(tasks.order_paper, 500)
    try:
        result.get(timeout=WITHIN_S)
    except outside.OutOfStockError as error:
        last_line = str(result.traceback).rstrip().splitlines()[-1]
        return {"caught": str(error), "traceback": last_line, "state": str(result.state)}
    return {}


def with_headers(visitor: str) -> Seen:
    result = client.options(headers={"visitor": visitor}).submit(tasks.receipt, "o-1")
    value: Seen = result.get(timeout=WITHIN_S)
    return {"id is the task's": value.pop("id") == result.id} | value


def to_another_queue() -> Seen:
    result = client.options(queue="printer", headers={"visitor": "ada"}).submit(tasks.receipt, "o-2")
    return {"queue": result.get(timeout=WITHIN_S)["queue"]}


def sent_twice_with_one_id(order: str) -> Seen:
    numbers: list[object] = []
    for _ in range(2):
        options = client.options(task_id=f"receipt-{order}", headers={"visitor": "ada"})
        result = options.submit(tasks.receipt, order)
        numbers.append(result.get(timeout=WITHIN_S)["id"])
    return {"receipts": numbers}


def one_after_the_other(url: str) -> Seen:
    return look_at(client.submit(tasks.fetch_and_print, url).get(timeout=WITHIN_S))


def forgotten() -> Seen:
    result = client.submit(tasks.price, 1, "10x15")
    result.get(timeout=WITHIN_S)
    result.forget()
    return look_at(result.id, within_s=0.2)


def unknown() -> Seen:
    return look_at("nobody-sent-this", within_s=0.2)


def of_a_type_that_nobody_knows() -> Seen:
    result = client.options(queue="shop").submit("nobody.knows.it")
    while result.state in {"PENDING", "STARTED"}:
        time.sleep(0.02)
    seen = {"state": str(result.state)}
    result.revoke()
    return seen


def lost_with_its_worker(negative: str) -> Seen:
    return look_at(client.options(**tasks.SCAN).submit(tasks.scan, negative).id)


def lost_with_its_worker_and_run_again(negative: str) -> Seen:
    return lost_with_its_worker(negative)


def begun(roll: str) -> str:
    """Submit a task, and give its id once it runs."""
    result = client.options(**tasks.DEVELOP).submit(tasks.develop, roll, 4)
    while not result.progress:
        time.sleep(0.02)
    return result.id


def left_for_later() -> dict[str, str]:
    """Submit what waits until there is a worker; gives the ids."""
    dull = client.options(priority=0).submit(tasks.print_photo, "dull")
    urgent = client.options(priority=9).submit(tasks.print_photo, "urgent")
    revoked = client.submit(tasks.remind, "revoked")
    revoked.revoke(reason="not wanted")
    expired = client.options(start_within=timedelta(seconds=0.5)).submit(tasks.remind, "expired")
    return {"dull": dull.id, "urgent": urgent.id, "revoked": revoked.id, "expired": expired.id}
