"""What the shop asks of its tasks, with Celery. `tailrace_calls.py` has the same functions in the same order."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import chain, group
from celery.result import AsyncResult

from examples.from_celery import celery_app as tasks
from examples.from_celery import outside

Seen = dict[str, Any]
"""What a caller finds out: the state, and either the value or the error's type and message."""

WITHIN_S = 30.0


def look_at(task_id: str, *, within_s: float = WITHIN_S) -> Seen:
    result = AsyncResult(task_id, app=tasks.app)
    try:
        return {"value": result.get(timeout=within_s), "state": result.state}
    except Exception as error:  # noqa: BLE001 (what the task raised, whatever it is)
        return {"error": type(error).__name__, "message": str(error), "state": result.state}


def state_of(task_id: str) -> str:
    return str(AsyncResult(task_id, app=tasks.app).state)


def plain_result() -> Seen:
    return look_at(tasks.price.delay(3, size="10x15").id)


def ignored_result(page: str) -> Seen:
    result = tasks.count_view.delay(page)
    return {"id": result.id, "value": result.get(timeout=WITHIN_S)}


def retried_with_backoff(url: str) -> Seen:
    return look_at(tasks.fetch_photo.delay(url, refusals=2).id)


def retried_when_the_task_says(order: str) -> Seen:
    return look_at(tasks.charge.delay(order).id)


def retried_too_often(order: str) -> Seen:
    return look_at(tasks.notify.delay(order).id)


def cut_short_at_its_soft_limit() -> Seen:
    return look_at(tasks.thumbnails.delay(1000).id)


def ended_at_its_hard_limit() -> Seen:
    return look_at(tasks.poster.delay(600).id)


def after_a_countdown(order: str) -> Seen:
    began = time.time()
    seen = look_at(tasks.remind.apply_async((order,), countdown=1).id)
    return seen | {"waited": outside.visits("customer", order)[0] - began >= 1}


def at_an_eta(order: str) -> Seen:
    eta = datetime.now(UTC) + timedelta(seconds=1)
    seen = look_at(tasks.remind.apply_async((order,), eta=eta).id)
    return seen | {"waited": outside.visits("customer", order)[0] >= eta.timestamp()}


def revoked_before_its_time(order: str) -> Seen:
    result = tasks.remind.apply_async((order,), countdown=60)
    return {"answer": result.revoke()} | look_at(result.id)


def revoked_while_it_runs(roll: str) -> Seen:
    result = AsyncResult(begun(roll), app=tasks.app)
    result.revoke(terminate=True)
    return look_at(result.id)


def watched_while_it_runs(roll: str) -> Seen:
    result = tasks.develop.delay(roll, 4)
    while result.state != "PROGRESS" or result.info["current"] < 4:
        time.sleep(0.02)
    seen = {"state then": result.state, "progress": result.info}
    outside.approve(roll)
    return seen | look_at(result.id)


def many_at_once() -> Seen:
    results = group(tasks.price.s(count, "10x15") for count in (3, 1, 2))()
    return {"values": results.get(timeout=WITHIN_S)}


def many_of_which_one_fails() -> Seen:
    results = group([tasks.price.s(3, "10x15"), tasks.order_paper.s(500), tasks.price.s(1, "10x15")])()
    try:
        return {"values": results.get(timeout=WITHIN_S)}
    except outside.OutOfStockError as error:
        rest = [result.get(timeout=WITHIN_S, propagate=False) for result in results]
        return {"raised": str(error), "all": [repr(each) for each in rest]}


def own_exception() -> Seen:
    result = tasks.order_paper.delay(500)
    try:
        result.get(timeout=WITHIN_S)
    except outside.OutOfStockError as error:
        last_line = str(result.traceback).rstrip().splitlines()[-1]
        return {"caught": str(error), "traceback": last_line, "state": result.state}
    return {}


def with_headers(visitor: str) -> Seen:
    result = tasks.receipt.apply_async(("o-1",), headers={"visitor": visitor})
    value: Seen = result.get(timeout=WITHIN_S)
    return {"id is the task's": value.pop("id") == result.id} | value


def to_another_queue() -> Seen:
    result = tasks.receipt.apply_async(("o-2",), queue="printer", headers={"visitor": "ada"})
    return {"queue": result.get(timeout=WITHIN_S)["queue"]}


def sent_twice_with_one_id(order: str) -> Seen:
    numbers = []
    for _ in range(2):
        result = tasks.receipt.apply_async((order,), task_id=f"receipt-{order}", headers={"visitor": "ada"})
        numbers.append(result.get(timeout=WITHIN_S)["id"])
    return {"receipts": numbers}


def one_after_the_other(url: str) -> Seen:
    return look_at(chain(tasks.fetch_photo.s(url, 0), tasks.print_photo.s())().id)


def forgotten() -> Seen:
    result = tasks.price.delay(1, "10x15")
    result.get(timeout=WITHIN_S)
    result.forget()
    return look_at(result.id, within_s=0.2)


def unknown() -> Seen:
    return look_at("nobody-sent-this", within_s=0.2)


def of_a_type_that_nobody_knows() -> Seen:
    return look_at(tasks.app.send_task("nobody.knows.it").id)


def lost_with_its_worker(negative: str) -> Seen:
    return look_at(tasks.scan.delay(negative).id)


def lost_with_its_worker_and_run_again(negative: str) -> Seen:
    return look_at(tasks.scan_again.delay(negative).id)


def begun(roll: str) -> str:
    """Send a task, and give its id once it runs."""
    result = tasks.develop.delay(roll, 4)
    while result.state != "PROGRESS":
        time.sleep(0.02)
    return str(result.id)


def left_for_later() -> dict[str, str]:
    """Send what waits until there is a worker; gives the ids."""
    dull = tasks.print_photo.apply_async(("dull",), priority=9)
    urgent = tasks.print_photo.apply_async(("urgent",), priority=0)
    revoked = tasks.remind.apply_async(("revoked",))
    revoked.revoke()
    expired = tasks.remind.apply_async(("expired",), expires=0.5)
    return {"dull": dull.id, "urgent": urgent.id, "revoked": revoked.id, "expired": expired.id}
