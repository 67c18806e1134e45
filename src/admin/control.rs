//! What the admin listener asks and tells: the workers, the snapshot, whether we are draining.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::reloads::Reloads;
use super::upgrades::Upgrades;
use crate::auth::cache::CacheStats;
use crate::clock::Clock;
use crate::listen::{ListenerLive, Order, WorkerReport};
use crate::live::Live;
use crate::observe::Names;

/// A worker that does not answer within this is left out of a report.
const PATIENCE: Duration = Duration::from_secs(2);

pub struct Control {
    pub live: Arc<Live>,
    pub names: Arc<Names>,
    pub clock: Clock,
    pub listeners: ArcSwap<Vec<Arc<ListenerLive>>>,
    pub reloads: Reloads,
    pub upgrades: Upgrades,
    pub workers: Vec<mpsc::UnboundedSender<Order>>,
    pub caches: Vec<Arc<CacheStats>>,
    pub draining: AtomicBool,
}

impl Control {
    /// Every worker's counters. One that is stuck is missing, and so are its numbers: it must not stop the others'.
    pub async fn reports(&self) -> Vec<WorkerReport> {
        let asked: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let (answer, report) = oneshot::channel();
                let _ = worker.send(Order::Report(answer));
                report
            })
            .collect();
        let mut reports = Vec::with_capacity(asked.len());
        for report in asked {
            if let Ok(Ok(report)) = tokio::time::timeout(PATIENCE, report).await {
                reports.push(report);
            }
        }
        reports
    }

    /// Every worker answers within this long.
    pub async fn answers(&self, within: Duration) -> bool {
        let draining = || self.draining.load(Ordering::Relaxed);
        tokio::time::timeout(within, all_answer(&self.workers, draining)).await.unwrap_or(false)
    }

    /// Ready: every issuer has keys, and we are not on our way out.
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.has_keys()
    }

    pub fn has_keys(&self) -> bool {
        self.live.load().issuers.iter().all(|issuer| issuer.has_keys())
    }
}

/// A thread that has ended because there was nothing left to drain has nothing to answer for.
async fn all_answer(workers: &[mpsc::UnboundedSender<Order>], draining: impl Fn() -> bool) -> bool {
    let pinged: Vec<_> = workers
        .iter()
        .map(|worker| {
            let (answer, answered) = oneshot::channel();
            worker.send(Order::Ping(answer)).map(|()| answered)
        })
        .collect();
    for answered in pinged {
        let alive = match answered {
            Ok(answered) => answered.await.is_ok(),
            Err(_) => false,
        };
        if !alive && !draining() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What systemd's watchdog rests on.
    #[tokio::test]
    async fn one_worker_that_does_not_answer_is_enough() {
        let (alive, mut orders) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                if let Order::Ping(answer) = order {
                    let _ = answer.send(());
                }
            }
        });
        assert!(all_answer(std::slice::from_ref(&alive), || false).await);
        let (dead, inbox) = mpsc::unbounded_channel();
        drop(inbox);
        assert!(!all_answer(&[alive.clone(), dead.clone()], || false).await);
        assert!(all_answer(&[alive.clone(), dead], || true).await, "it has drained");
        let (stuck, _unread) = mpsc::unbounded_channel();
        let short = Duration::from_millis(50);
        assert!(tokio::time::timeout(short, all_answer(&[alive, stuck], || false)).await.is_err());
    }
}
