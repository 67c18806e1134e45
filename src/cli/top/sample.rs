//! What the gateway counted up to one moment, by agency.

use std::collections::BTreeMap;
use std::time::Instant;

use http::Uri;
use serde::Deserialize;

use super::exposition::{self, Line};
use super::fetch;

pub struct Sample {
    pub at: Instant,
    pub agencies: BTreeMap<String, Counts>,
    /// Requests under way in the gateway.
    pub in_flight: f64,
    pub endpoints: Vec<AgencyState>,
    /// Of the configuration in force.
    pub sha256: String,
}

/// Since the gateway began.
#[derive(Clone, Default)]
pub struct Counts {
    pub requests: f64,
    /// Answered 4xx, by the gateway or the agency.
    pub refused: f64,
    /// Answered 5xx.
    pub failed: f64,
    /// Upper bound in seconds, and how many were as fast or faster; in the order of bounds.
    pub buckets: Vec<(f64, f64)>,
}

/// An agency in `/agencies` (contract section 5, "JSON").
#[derive(Deserialize)]
pub struct AgencyState {
    pub name: String,
    pub endpoints: Vec<EndpointState>,
}

#[derive(Deserialize)]
pub struct EndpointState {
    pub url: String,
    pub healthy: bool,
    #[serde(default)]
    pub ejected: bool,
    #[serde(default)]
    pub in_flight: u64,
}

#[derive(Deserialize)]
struct Agencies {
    agencies: Vec<AgencyState>,
}

impl Sample {
    /// Asks the gateway. Errors: in words for the operator.
    pub async fn take(admin: &Uri) -> Result<Sample, String> {
        let metrics = fetch::get(admin, "/metrics").await?;
        let at = Instant::now();
        let agencies = fetch::get(admin, "/agencies").await?;
        let Agencies { agencies } =
            serde_json::from_slice(&agencies).map_err(|error| format!("{admin}: /agencies cannot be read: {error}"))?;
        Ok(Sample::read(at, &String::from_utf8_lossy(&metrics), agencies))
    }

    pub fn read(at: Instant, metrics: &str, endpoints: Vec<AgencyState>) -> Sample {
        let mut sample = Sample { at, agencies: BTreeMap::new(), in_flight: 0.0, endpoints, sha256: String::new() };
        for line in metrics.lines().filter_map(exposition::line) {
            sample.count(&line);
        }
        sample
    }

    fn count(&mut self, line: &Line<'_>) {
        match line.name {
            "darvazeh_requests_total" => {
                let failed = line.label("status").and_then(|status| status.bytes().next());
                let counts = self.agency(line);
                counts.requests += line.value;
                match failed {
                    Some(b'4') => counts.refused += line.value,
                    Some(b'5') => counts.failed += line.value,
                    _ => {}
                }
            }
            "darvazeh_upstream_duration_seconds_bucket" => {
                if let Some(bound) = line.label("le").and_then(|bound| bound.parse().ok()) {
                    self.agency(line).buckets.push((bound, line.value));
                }
            }
            "darvazeh_in_flight" => self.in_flight += line.value,
            "darvazeh_config_info" => self.sha256 = line.label("sha256").unwrap_or_default().into_owned(),
            _ => {}
        }
    }

    fn agency(&mut self, line: &Line<'_>) -> &mut Counts {
        let name = line.label("agency").unwrap_or_default();
        self.agencies.entry(name.into_owned()).or_default()
    }
}
