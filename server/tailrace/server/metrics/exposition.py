"""The numbers in the form that Prometheus reads."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tailrace.server.metrics.catalogue import FAMILIES, Family, Kind, Sources
from tailrace.server.metrics.histogram import Distribution


def render(sources: Sources, accept: str = "") -> tuple[bytes, str]:
    """Write down all numbers, and those of the process; tells the content type too, which ``accept`` has a say in."""
    registry = CollectorRegistry()
    registry.register(_Collector(sources))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector(Collector):
    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            yield _metric(family, self._sources)


def _metric(family: Family, sources: Sources) -> Metric:
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        for labels, value in family.samples(sources):
            if isinstance(value, Distribution):
                histogram.add_metric(labels, buckets=value.buckets, sum_value=value.total)
        return histogram
    metric_class = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = metric_class(family.name, family.text, labels=family.labels)
    for labels, value in family.samples(sources):
        if not isinstance(value, Distribution):
            metric.add_metric(labels, value)
    return metric
