"""A photo shop's tasks, as Celery has them. `tailrace_tasks.py` is the same, carried over."""

import os
import signal
import time

from celery import Celery, Task
from celery.exceptions import SoftTimeLimitExceeded

from examples.from_celery import outside

app = Celery(
    "shop",
    broker=os.environ.get("SHOP_BROKER", "redis://localhost:6379/0"),
    backend=os.environ.get("SHOP_BACKEND", "redis://localhost:6379/1"),
)
app.conf.update(
    task_default_queue="shop",
    task_routes={"examples.from_celery.celery_app.print_photo": {"queue": "printer"}},
    task_track_started=True,
    worker_prefetch_multiplier=1,
    result_expires=24 * 3600,
)


@app.task
def price(photos: int, size: str) -> int:
    return photos * {"10x15": 29, "13x18": 49}[size]


@app.task(ignore_result=True)
def count_view(page: str) -> int:
    return outside.visit("page", page)


@app.task(autoretry_for=(ConnectionError,), max_retries=5, retry_backoff=1, retry_jitter=False)
def fetch_photo(url: str, refusals: int) -> str:
    if outside.visit("photo-host", url) <= refusals:
        raise ConnectionError(f"{url} is not to be had")
    return f"the photo from {url}"


@app.task(bind=True, max_retries=5)
def charge(self: Task, order: str) -> str:
    if outside.visit("bank", order) < 3:
        raise self.retry(countdown=1)
    return f"charged {order}"


@app.task(bind=True, max_retries=2)
def notify(self: Task, order: str) -> None:
    try:
        outside.send_mail(order)
    except ConnectionError as error:
        raise self.retry(exc=error, countdown=0) from error


@app.task(soft_time_limit=1)
def thumbnails(photos: int) -> int:
    done = 0
    try:
        while done < photos:
            time.sleep(0.05)
            done += 1
    except SoftTimeLimitExceeded:
        pass  # better some than none
    return done


@app.task(time_limit=1)
def poster(seconds: float) -> str:
    time.sleep(seconds)
    return "a poster"


@app.task
def remind(order: str) -> str:
    outside.visit("customer", order)
    return f"reminded of {order}"


@app.task(bind=True, acks_late=True)
def develop(self: Task, roll: str, frames: int) -> str:
    for frame in range(1, frames + 1):
        self.update_state(state="PROGRESS", meta={"current": frame, "total": frames})
    while not outside.is_approved(roll):
        time.sleep(0.02)
    return f"{frames} frames of {roll}"


@app.task
def order_paper(sheets: int) -> None:
    raise outside.OutOfStockError(f"no {sheets} sheets left")


@app.task
def print_photo(photo: str) -> str:
    outside.visit("printer", photo)
    return f"a print of {photo}"


@app.task(bind=True)
def receipt(self: Task, order: str) -> dict[str, object]:
    outside.visit("receipts", order)
    request = self.request
    queue = request.delivery_info["routing_key"]
    return {"id": request.id, "attempt": request.retries + 1, "queue": queue, "visitor": request.headers["visitor"]}


@app.task
def scan(negative: str) -> str:
    if outside.visit("scanner", negative) == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
    return f"a scan of {negative}"


@app.task(acks_late=True, reject_on_worker_lost=True)
def scan_again(negative: str) -> str:
    return str(scan(negative))
