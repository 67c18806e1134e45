//! What a process keeps from its start to its end: a reload that wants it otherwise is applied all the same, and says each time
//! what of it waits for the next start. Called by `reload`.

use std::net::SocketAddr;
use std::path::Path;

use crate::config::model::Position;
use crate::config::{Config, Fault, Severity, codes};

/// The keys as this process was started with them.
pub struct Started {
    admin: Option<SocketAddr>,
    /// `None`: given from outside, and the file's are not heeded.
    workers: Option<Option<usize>>,
}

impl Started {
    /// `workers`: given from outside.
    pub fn new(config: &Config, workers: Option<usize>) -> Started {
        Started { admin: config.admin, workers: workers.is_none().then_some(config.workers) }
    }

    /// A warning for each key that `config` has otherwise.
    pub fn waiting(&self, config: &Config) -> Vec<Fault> {
        let mut waiting = Vec::new();
        if self.admin != config.admin {
            let shown = |address: Option<SocketAddr>| address.map_or("none".to_owned(), |a| a.to_string());
            let change = (shown(self.admin), shown(config.admin));
            waiting.push(waits("admin", change, config.at_start.admin.as_ref(), &config.file));
        }
        if let Some(workers) = self.workers.filter(|workers| *workers != config.workers) {
            let shown = |workers: Option<usize>| workers.map_or("one per core".to_owned(), |n| n.to_string());
            let change = (shown(workers), shown(config.workers));
            waiting.push(waits("workers", change, config.at_start.workers.as_ref(), &config.file));
        }
        waiting
    }
}

fn waits(key: &str, (runs, written): (String, String), at: Option<&Position>, file: &Path) -> Fault {
    let (line, column) = at.map_or((0, 0), |at| (at.line, at.column));
    Fault {
        code: codes::NEEDS_RESTART,
        severity: Severity::Warning,
        message: format!("`{key}` takes effect at the next start: {written} is written, {runs} runs"),
        file: at.map_or_else(|| file.display().to_string(), |at| at.file.to_string()),
        line,
        column,
        path: key.to_owned(),
        remedy: "run `darvazeh upgrade`, which loses no connection, or restart".to_owned(),
        related: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn config(keys: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("routes.yaml");
        let rest = "listeners: [{ name: a, address: 127.0.0.1:0 }]\nagencies: { x: { title: { fa: x, en: x }, scope: national, \
                    endpoints: ['http://127.0.0.1:1'] } }\nroutes: [{ name: r, agency: x, match: { prefix: / }, require: { level: 0 } }]\n";
        std::fs::write(&file, format!("version: 1\n{keys}{rest}")).unwrap();
        load(&file, 0).unwrap().config
    }

    fn keys(started: &Started, now: &str) -> Vec<(String, u32)> {
        started.waiting(&config(now)).into_iter().map(|fault| (fault.path, fault.line)).collect()
    }

    #[test]
    fn a_key_waits_while_it_is_written_otherwise_than_it_runs() {
        let started = Started::new(&config("workers: 2\nadmin: { address: 127.0.0.1:0 }\n"), None);
        assert_eq!(keys(&started, "workers: 2\nadmin: { address: 127.0.0.1:0 }\n"), []);
        assert_eq!(keys(&started, "admin: { address: 127.0.0.1:0 }\nworkers: 3\n"), [("workers".to_owned(), 3)]);
        assert_eq!(keys(&started, ""), [("admin".to_owned(), 0), ("workers".to_owned(), 0)]);
    }

    #[test]
    fn workers_given_from_outside_wait_for_nothing() {
        let started = Started::new(&config("workers: 2\n"), Some(1));
        assert_eq!(keys(&started, "workers: 3\n"), []);
    }
}
