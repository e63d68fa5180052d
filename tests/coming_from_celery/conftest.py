"""A test that fails shows the end of what the workers printed."""

from collections.abc import Generator

import pytest

from tests.coming_from_celery.shops import SHOPS


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed and (shops := item.stash.get(SHOPS, None)) is not None:
        report.sections += [
            (f"the end of {shop.worker.name}", shop.worker.tail()) for shop in (shops.celery, shops.tailrace)
        ]
    return report
