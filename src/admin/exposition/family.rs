//! Metrics in the form that the encoder takes.

use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::observe::tally::{BUCKETS, Histogram};

pub(super) fn family(name: &str, kind: MetricType, help: &str) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("darvazeh_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family
}

pub(super) fn single(name: &str, help: &str, value: u64) -> MetricFamily {
    let mut family = family(name, MetricType::COUNTER, help);
    family.mut_metric().push(counter(&[], value));
    family
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

pub(super) fn counter(labels: &[(&str, &str)], value: u64) -> Metric {
    let mut metric = labelled(labels);
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    metric.set_counter(counter);
    metric
}

pub(super) fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(labels);
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

pub(super) fn histogram(labels: &[(&str, &str)], seen: &Histogram) -> Metric {
    let mut metric = labelled(labels);
    let mut histogram = prometheus::proto::Histogram::default();
    let mut below = 0;
    let buckets = BUCKETS.iter().zip(seen.counts).map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(seen.counts.iter().sum());
    histogram.set_sample_sum(seen.sum_nanos as f64 / 1e9);
    metric.set_histogram(histogram);
    metric
}
