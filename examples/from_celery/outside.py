"""What the shop's tasks deal with: a bank, a photo host, customers. The same whether Celery runs them or Tailrace does.

Everything is a file in the directory that SHOP_DIRECTORY names, so that every process sees it.
"""

import os
import time
from pathlib import Path


class OutOfStockError(Exception):
    """The shop's own exception."""


def visit(place: str, key: str) -> int:
    """Go there on behalf of an order; tells how often that was done by now, this time included."""
    with _file(place, key).open("a", encoding="ascii") as journal:
        journal.write(f"{time.time()}\n")
    return len(visits(place, key))


def visits(place: str, key: str) -> list[float]:
    """List when each visit was, in seconds since the epoch."""
    journal = _file(place, key)
    return [float(line) for line in journal.read_text(encoding="ascii").split()] if journal.exists() else []


def send_mail(order: str) -> None:
    """Try to: nobody ever takes it."""
    visit("mail-server", order)
    raise ConnectionError(f"nobody takes the mail about {order}")


def approve(roll: str) -> None:
    """Say, as the customer, that the proofs are good."""
    visit("approval", roll)


def is_approved(roll: str) -> bool:
    """Tell whether the customer has said so."""
    return bool(visits("approval", roll))


def _file(place: str, key: str) -> Path:
    return Path(os.environ["SHOP_DIRECTORY"], f"{place}-{key}")
