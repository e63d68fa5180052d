"""A photo shop's tasks, as Tailrace has them. `celery_app.py` is what they were carried over from."""

import os
import signal
import time
from datetime import timedelta

from examples.from_celery import outside
from tailrace.client import Client, Options
from tailrace.worker import RetryLater, RetryPolicy, TaskInterrupt, Worker, current_task

worker = Worker(queues=["shop", "printer"], concurrency=1)


@worker.task(queue="shop")
def price(photos: int, size: str) -> int:
    return photos * {"10x15": 29, "13x18": 49}[size]


@worker.task(queue="shop")
def count_view(page: str) -> int:
    return outside.visit("page", page)


COUNT_VIEW = Options(result_ttl=timedelta(0))  # what its callers say each time, as of the others below


@worker.task(queue="shop", retry=RetryPolicy(max_attempts=6), retry_on=ConnectionError)
def fetch_photo(url: str, refusals: int) -> str:
    if outside.visit("photo-host", url) <= refusals:
        raise ConnectionError(f"{url} is not to be had")
    return f"the photo from {url}"


@worker.task(queue="shop", retry=RetryPolicy(max_attempts=6))
def charge(order: str) -> str:
    if outside.visit("bank", order) < 3:
        raise RetryLater(delay=timedelta(seconds=1))
    return f"charged {order}"


@worker.task(queue="shop", retry=RetryPolicy(max_attempts=3, initial_backoff=timedelta(0)))
def notify(order: str) -> None:
    outside.send_mail(order)


@worker.task(queue="shop", executor="process")
def thumbnails(photos: int) -> int:
    done = 0
    try:
        while done < photos:
            time.sleep(0.05)
            done += 1
    except TaskInterrupt:
        pass  # better some than none
    return done


THUMBNAILS = Options(execution_timeout=timedelta(seconds=1))


@worker.task(queue="shop", executor="process")
def poster(seconds: float) -> str:
    time.sleep(seconds)
    return "a poster"


POSTER = Options(execution_timeout=timedelta(seconds=1))


@worker.task(queue="shop")
def remind(order: str) -> str:
    outside.visit("customer", order)
    return f"reminded of {order}"


@worker.task(queue="shop", executor="process")
def develop(roll: str, frames: int) -> str:
    for frame in range(1, frames + 1):
        current_task().progress(frame, frames)
    while not outside.is_approved(roll):
        time.sleep(0.02)
    return f"{frames} frames of {roll}"


DEVELOP = Options(lease_duration=timedelta(seconds=2))


@worker.task(queue="shop")
def order_paper(sheets: int) -> None:
    raise outside.OutOfStockError(f"no {sheets} sheets left")


@worker.task(queue="printer")
def print_photo(photo: str) -> str:
    outside.visit("printer", photo)
    return f"a print of {photo}"


@worker.task(queue="shop")
def receipt(order: str) -> dict[str, object]:
    outside.visit("receipts", order)
    task = current_task()
    return {"id": task.id, "attempt": task.attempt, "queue": task.queue, "visitor": task.headers["visitor"]}


@worker.task(queue="shop", executor="process")
def scan(negative: str) -> str:
    if outside.visit("scanner", negative) == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
    return f"a scan of {negative}"


SCAN = Options(lease_duration=timedelta(seconds=2))


@worker.task(queue="shop")
def fetch_and_print(url: str) -> str:
    """Do what ``chain(fetch_photo.s(url, 0), print_photo.s())`` does, and return the id of the task that comes last."""
    photo = fetch_photo(url, 0)
    this = current_task().id
    with Client() as client:
        # The same id in every attempt: however often this one is tried, one print is made.
        follows = client.options(task_id=f"{this}::print", parent_task_id=this)
        return follows.submit(print_photo, photo).id
