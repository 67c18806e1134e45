//! The access log: one JSON line a request, captured on the data path and written by a thread of its own.
//!
//! Only the fields of [`Line`] exist: no path, no query, no header, no address, no claim. A log that cannot keep up loses
//! lines, counted in `darvazeh_access_log_dropped_total`, and never slows a request.

mod out;
mod text;

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub use self::out::Out;
use self::text::{Day, Labels, format};
use super::names::{Names, StatId};
use super::tally::Tally;
use crate::config::model::AccessLog;
use crate::words::{Code, Level, PairwiseSubject, RequestId};

/// Lines a worker gathers before it hands them over; the worker's tick hands over what is there.
const BATCH: usize = 256;
/// Batches on their way to the writer, from all workers.
const QUEUE: usize = 128;

#[derive(Clone, Debug)]
pub struct Line {
    /// When it ended.
    pub at: Instant,
    pub stat: StatId,
    pub request_id: RequestId,
    pub method: u8,
    pub status: u16,
    pub code: Option<Code>,
    pub level: Level,
    pub subject: Option<PairwiseSubject>,
    pub took: Duration,
    pub upstream: Option<Duration>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub verdict: bool,
    pub cut: bool,
}

/// Lines on their way to the writer, with what the clocks said as they left: a line's time is counted back from that.
pub struct Batch {
    lines: Vec<Line>,
    left: (SystemTime, Instant),
}

impl Batch {
    fn of(lines: Vec<Line>) -> Batch {
        Batch { lines, left: (SystemTime::now(), Instant::now()) }
    }

    fn time_of(&self, line: &Line) -> SystemTime {
        let (time, instant) = self.left;
        time - instant.saturating_duration_since(line.at)
    }
}

/// One worker's end of the log.
pub struct LogBuffer {
    lines: RefCell<Vec<Line>>,
    sender: Option<SyncSender<Batch>>,
    on: Cell<bool>,
}

impl LogBuffer {
    /// `on`: whether the configuration in force wants lines.
    pub fn new(sender: SyncSender<Batch>, on: bool) -> LogBuffer {
        LogBuffer { lines: RefCell::default(), sender: Some(sender), on: Cell::new(on) }
    }

    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Another configuration is in force.
    pub fn turn(&self, on: bool) {
        self.on.set(on);
    }

    pub fn push(&self, line: Line, tally: &Tally) {
        let mut lines = self.lines.borrow_mut();
        lines.push(line);
        if lines.len() >= BATCH {
            let batch = std::mem::replace(&mut *lines, Vec::with_capacity(BATCH));
            drop(lines);
            self.send(batch, tally);
        }
    }

    /// Hands over what is there: the worker's tick, and its end.
    pub fn flush(&self, tally: &Tally) {
        let batch = std::mem::take(&mut *self.lines.borrow_mut());
        if !batch.is_empty() {
            self.send(batch, tally);
        }
    }

    fn send(&self, lines: Vec<Line>, tally: &Tally) {
        let Some(sender) = &self.sender else { return };
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = sender.try_send(Batch::of(lines)) {
            tally.log_dropped.set(tally.log_dropped.get() + batch.lines.len() as u64);
        }
    }
}

impl Drop for LogBuffer {
    /// The lines of requests that were cut at the end of a drain: their records close as the worker's runtime ends.
    fn drop(&mut self) {
        let batch = std::mem::take(self.lines.get_mut());
        if let Some(sender) = self.sender.take().filter(|_| !batch.is_empty()) {
            // The writer reads on until the last sender is gone: this waits for room, not for ever.
            let _ = sender.send(Batch::of(batch));
        }
    }
}

/// The writer's thread. It ends once every [`LogBuffer`] is gone and all lines are written.
pub struct Writer {
    pub sender: SyncSender<Batch>,
    pub outlet: Outlet,
    pub thread: std::thread::JoinHandle<()>,
}

/// For a reload: what the writer turns to with its next batch. Never waited for, since the writer may be stuck in a pipe that
/// nobody reads.
#[derive(Clone, Default)]
pub struct Outlet(Arc<Mutex<Option<Out>>>);

impl Outlet {
    pub fn turn_to(&self, out: Out) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(out);
    }

    fn turned(&self) -> Option<Out> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Starts the writer, also where the log is off: a reload may turn it on. Errors: the file cannot be opened.
pub fn start(to: &AccessLog, names: Arc<Names>) -> io::Result<Writer> {
    let out = Out::open(to)?;
    let (sender, receiver) = sync_channel(QUEUE);
    let outlet = Outlet::default();
    let turned = outlet.clone();
    let thread = std::thread::Builder::new()
        .name("access-log".into())
        .spawn(move || write_all(&receiver, out, &turned, &names))?;
    Ok(Writer { sender, outlet, thread })
}

fn write_all(receiver: &Receiver<Batch>, mut out: Out, outlet: &Outlet, names: &Names) {
    let mut text = Vec::with_capacity(64 * 1024);
    let mut day = Day::default();
    let mut labels = Labels::default();
    while let Ok(batch) = receiver.recv() {
        // Every batch is flushed: nothing is left in the one before.
        if let Some(next) = outlet.turned() {
            out = next;
        }
        for line in &batch.lines {
            if let Some(label) = labels.of(line.stat, names) {
                format(&mut text, line, batch.time_of(line), &label, &mut day);
            }
        }
        out.write(&text);
        text.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::words::RequestId;

    pub(super) fn line() -> Line {
        Line {
            at: Instant::now(),
            stat: StatId::UNROUTED,
            request_id: RequestId::from_bits(7),
            method: 0,
            status: 401,
            code: Some(Code::TokenMissing),
            level: Level::TWO,
            subject: PairwiseSubject::new("1.abc"),
            took: Duration::from_micros(42),
            upstream: None,
            bytes_in: 1,
            bytes_out: 2,
            verdict: false,
            cut: false,
        }
    }

    /// A disk that is full once: after so many bytes.
    struct Full {
        after: usize,
        refused: bool,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.after == 0 && !std::mem::replace(&mut self.refused, true) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let n = if self.refused { bytes.len() } else { bytes.len().min(self.after) };
            self.after = self.after.saturating_sub(n);
            self.written.lock().unwrap().extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_off_spoils_no_other() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let full = Full { after: 100, refused: false, written: written.clone() };
        let out = Out::of(full);
        let (sender, receiver) = sync_channel(3);
        sender.send(Batch::of(vec![line()])).unwrap();
        sender.send(Batch::of(vec![line(), line()])).unwrap();
        drop(sender);
        write_all(&receiver, out, &Outlet::default(), &Names::default());
        let written = written.lock().unwrap();
        let lines: Vec<_> = written.split(|b| *b == b'\n').collect();
        assert_eq!((lines.len(), lines[0].len(), lines[3].len()), (4, 100, 0));
        assert!(lines[1..3].iter().all(|line| serde_json::from_slice::<serde_json::Value>(line).is_ok()));
    }

    /// However long they lie on their way.
    #[test]
    fn a_line_says_when_its_request_ended() {
        let ended = Line { at: Instant::now(), ..line() };
        let mut batch = Batch::of(vec![]);
        batch.left.0 = UNIX_EPOCH + Duration::from_secs(10);
        batch.left.1 = ended.at + Duration::from_secs(4);
        assert_eq!(batch.time_of(&ended), UNIX_EPOCH + Duration::from_secs(6));
    }
}
