//! The record of one request: opened when it arrived, closed at the end of its answer or when the caller left.
//!
//! Closing is `Drop`: whatever happens to a request, it is counted once and logged once.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::access_log::{Line, LogBuffer};
use super::names::{Lease, StatId};
use super::tally::{Outcome, Tally};
use crate::words::{Code, Level, PairwiseSubject, RequestId};

/// Where a worker's records go.
#[derive(Clone)]
pub struct Books {
    pub tally: Rc<Tally>,
    pub log: Rc<LogBuffer>,
}

pub struct Record {
    books: Books,
    begun: Instant,
    stat: StatId,
    /// Keeps the number of its route, which may be gone before its answer has ended.
    lease: Option<Rc<Lease>>,
    method: u8,
    pub request_id: RequestId,
    pub status: u16,
    pub code: Option<Code>,
    pub level: Level,
    /// The caller as the agency knows it: never `sub`.
    pub subject: Option<PairwiseSubject>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub upstream: Option<Duration>,
    /// Another proxy asked about the request, and forwards it by itself.
    pub verdict: bool,
    /// The answer did not reach its end.
    pub cut: bool,
    /// When it ended, where that was before this is closed.
    pub ended: Option<Instant>,
}

impl Record {
    pub fn begin(books: &Books, stat: StatId, method: usize, request_id: RequestId, begun: Instant) -> Record {
        books.tally.began(stat);
        Record {
            books: books.clone(),
            begun,
            stat,
            lease: None,
            method: method as u8,
            request_id,
            status: 0,
            code: None,
            level: Level::NONE,
            subject: None,
            bytes_in: 0,
            bytes_out: 0,
            upstream: None,
            verdict: false,
            cut: false,
            ended: None,
        }
    }

    /// `lease`: of the configuration that the route is of.
    pub fn holding(self, lease: Rc<Lease>) -> Record {
        // `Record` has a `Drop`: its fields cannot be taken out of it.
        let mut record = self;
        record.lease = Some(lease);
        record
    }

    pub fn books(&self) -> &Books {
        &self.books
    }

    pub fn stat(&self) -> StatId {
        self.stat
    }
}

/// The status of a request whose caller left before there was an answer (as NGINX counts it).
const CLIENT_CLOSED: u16 = 499;

impl Drop for Record {
    fn drop(&mut self) {
        let now = self.ended.unwrap_or_else(Instant::now);
        let took = now.saturating_duration_since(self.begun);
        if self.status == 0 {
            self.status = CLIENT_CLOSED;
            self.cut = true;
        }
        let outcome = Outcome { method: self.method, status: self.status, code: self.code };
        self.books.tally.ended(self.stat, outcome, took);
        if self.verdict {
            self.books.tally.judged(self.stat, self.code);
        }
        if !self.books.log.is_on() {
            return;
        }
        let line = Line {
            at: now,
            stat: self.stat,
            request_id: self.request_id,
            method: self.method,
            status: self.status,
            code: self.code,
            level: self.level,
            subject: self.subject,
            took,
            upstream: self.upstream,
            verdict: self.verdict,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            cut: self.cut,
        };
        self.books.log.push(line, &self.books.tally);
    }
}
