"""The numbers in the form that Prometheus reads."""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tailrace.server.metrics.catalogue import FAMILIES, Family, Kind, Sample, Sources
from tailrace.server.metrics.histogram import Distribution

Collected = Sequence[tuple[Family, Sequence[Sample]]]
"""All numbers as of one moment."""


def collect(sources: Sources) -> Collected:
    """Take down all numbers, where nobody changes them meanwhile: on the event loop."""
    return [(family, list(family.samples(sources))) for family in FAMILIES]


def render(collected: Collected, accept: str = "") -> tuple[bytes, str]:
    """Write down what was collected, and the numbers of the process; tells the content type too.

    ``accept`` has a say in that. With thousands of series it takes a while, and may be done on any thread.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(collected))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector(Collector):
    def __init__(self, collected: Collected) -> None:
        self._collected = collected

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        return (_metric(family, samples) for family, samples in self._collected)


def _metric(family: Family, samples: Sequence[Sample]) -> Metric:
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        for labels, value in samples:
            if isinstance(value, Distribution):
                histogram.add_metric(labels, buckets=value.buckets, sum_value=value.total)
        return histogram
    metric_class = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = metric_class(family.name, family.text, labels=family.labels)
    for labels, value in samples:
        if not isinstance(value, Distribution):
            metric.add_metric(labels, value)
    return metric
