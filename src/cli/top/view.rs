//! What happened between two samples: rates, errors and latency, ready to be shown.

use std::collections::BTreeMap;

use super::sample::{AgencyState, Counts, EndpointState, Sample};

pub struct View {
    /// The busiest first.
    pub agencies: Vec<AgencyRow>,
    /// Those that are not well first.
    pub endpoints: Vec<EndpointRow>,
    pub rate: f64,
    pub refused: f64,
    pub failed: f64,
    pub in_flight: f64,
    pub sha256: String,
}

/// Rates are per second.
pub struct AgencyRow {
    /// Empty: requests that met no route.
    pub name: String,
    pub rate: f64,
    pub refused: f64,
    pub failed: f64,
    /// Seconds; `None`: it answered nothing.
    pub median: Option<f64>,
    pub p99: Option<f64>,
    pub in_flight: u64,
    pub healthy: usize,
    pub endpoints: usize,
}

pub struct EndpointRow {
    pub agency: String,
    pub url: String,
    pub state: &'static str,
    pub in_flight: u64,
}

impl View {
    pub fn between(before: &Sample, after: &Sample) -> View {
        let seconds = after.at.duration_since(before.at).as_secs_f64().max(f64::EPSILON);
        let states: BTreeMap<&str, &AgencyState> = after.endpoints.iter().map(|a| (&*a.name, a)).collect();
        let mut names: Vec<&str> = after.agencies.keys().map(String::as_str).chain(states.keys().copied()).collect();
        names.sort_unstable();
        names.dedup();
        let none = Counts::default();
        let rows = names.into_iter().map(|name| {
            let counts = (before.agencies.get(name).unwrap_or(&none), after.agencies.get(name).unwrap_or(&none));
            row(name, counts, states.get(name).copied(), seconds)
        });
        let mut agencies: Vec<AgencyRow> = rows.collect();
        agencies.sort_by(|a, b| b.rate.total_cmp(&a.rate));
        View {
            rate: agencies.iter().map(|a| a.rate).sum(),
            refused: agencies.iter().map(|a| a.refused).sum(),
            failed: agencies.iter().map(|a| a.failed).sum(),
            in_flight: after.in_flight,
            endpoints: endpoints(after),
            sha256: after.sha256.clone(),
            agencies,
        }
    }
}

fn row(name: &str, (before, after): (&Counts, &Counts), state: Option<&AgencyState>, seconds: f64) -> AgencyRow {
    let per_second = |of: fn(&Counts) -> f64| grown(of(before), of(after)) / seconds;
    let endpoints = state.map(|state| state.endpoints.as_slice()).unwrap_or_default();
    AgencyRow {
        name: name.to_owned(),
        rate: per_second(|c| c.requests),
        refused: per_second(|c| c.refused),
        failed: per_second(|c| c.failed),
        median: quantile(before, after, 0.5),
        p99: quantile(before, after, 0.99),
        in_flight: endpoints.iter().map(|e| e.in_flight).sum(),
        healthy: endpoints.iter().filter(|e| e.healthy && !e.ejected).count(),
        endpoints: endpoints.len(),
    }
}

/// A counter that fell began anew: the gateway was restarted.
fn grown(before: f64, after: f64) -> f64 {
    if after < before { after } else { after - before }
}

/// By linear interpolation within the bucket, as Prometheus does. What is beyond the last bound counts as that bound.
fn quantile(before: &Counts, after: &Counts, share: f64) -> Option<f64> {
    let was = |at: usize| before.buckets.get(at).map_or(0.0, |(_, count)| *count);
    let grown = after.buckets.iter().enumerate().map(|(at, (bound, count))| (*bound, grown(was(at), *count)));
    let buckets: Vec<(f64, f64)> = grown.collect();
    let (_, all) = *buckets.last()?;
    if all <= 0.0 {
        return None;
    }
    let rank = share * all;
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= rank {
            let inside = if count > below { (rank - below) / (count - below) } else { 1.0 };
            return Some(if bound.is_finite() { low + (bound - low) * inside } else { low });
        }
        (low, below) = (bound, count);
    }
    Some(low)
}

fn endpoints(sample: &Sample) -> Vec<EndpointRow> {
    let state = |endpoint: &EndpointState| match endpoint {
        EndpointState { healthy: false, .. } => "unhealthy",
        EndpointState { ejected: true, .. } => "ejected",
        _ => "healthy",
    };
    let each = sample.endpoints.iter().flat_map(|agency| {
        agency.endpoints.iter().map(|endpoint| EndpointRow {
            agency: agency.name.clone(),
            url: endpoint.url.clone(),
            state: state(endpoint),
            in_flight: endpoint.in_flight,
        })
    });
    let mut rows: Vec<EndpointRow> = each.collect();
    rows.sort_by_key(|row| row.state == "healthy");
    rows
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn counts(buckets: &[(f64, f64)]) -> Counts {
        Counts { buckets: buckets.to_vec(), ..Counts::default() }
    }

    #[test]
    fn quantiles_are_of_what_came_in_between() {
        let before = counts(&[(0.1, 1000.0), (1.0, 1000.0), (f64::INFINITY, 1000.0)]);
        let after = counts(&[(0.1, 1050.0), (1.0, 1100.0), (f64::INFINITY, 1100.0)]);
        assert_eq!(quantile(&before, &after, 0.5), Some(0.1));
        assert!((quantile(&before, &after, 0.99).unwrap() - 0.982).abs() < 1e-9);
        assert_eq!(quantile(&after, &after, 0.5), None);
        let slow = counts(&[(0.1, 0.0), (1.0, 0.0), (f64::INFINITY, 5.0)]);
        assert_eq!(quantile(&counts(&[]), &slow, 0.5), Some(1.0));
    }

    #[test]
    fn rates_are_per_second_and_survive_a_restart() {
        let metrics = |n: u32| {
            format!(
                "darvazeh_requests_total{{agency=\"a\",status=\"200\"}} {n}\n\
                 darvazeh_requests_total{{agency=\"a\",status=\"503\"}} {}\n\
                 darvazeh_in_flight{{route=\"r\"}} 3\n",
                n / 2
            )
        };
        let now = Instant::now();
        let sample = |n, after| Sample::read(now + Duration::from_secs(after), &metrics(n), Vec::new());
        let view = View::between(&sample(10, 0), &sample(30, 2));
        assert_eq!((view.rate, view.failed, view.in_flight), (15.0, 5.0, 3.0));
        assert_eq!(View::between(&sample(30, 0), &sample(10, 1)).rate, 15.0);
    }
}
