//! The access log: one JSON line a request, captured on the data path and written by a thread of its own.
//!
//! Only the fields of [`Line`] exist: no path, no query, no header, no address, no claim. A log that cannot keep up loses
//! lines, counted in `darvazeh_access_log_dropped_total`, and never slows a request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::names::{Names, RouteName, StatId};
use super::tally::Tally;
use crate::config::model::AccessLog;
use crate::digits::Digits;
use crate::words::{Code, Level, METHODS, RequestId};

/// Lines a worker gathers before it hands them over; the worker's tick hands over what is there.
const BATCH: usize = 128;
/// Batches on their way to the writer, from all workers.
const QUEUE: usize = 256;

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
    pub subject: Option<Arc<str>>,
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

/// Where lines are written to.
pub struct Out {
    io: Box<dyn Write + Send>,
    /// The last line is not whole: the next begins a line of its own.
    torn: bool,
}

impl Out {
    /// Errors: the file cannot be opened.
    pub fn open(to: &AccessLog) -> io::Result<Out> {
        Ok(match to {
            AccessLog::Off => Out { io: Box::new(io::sink()), torn: false },
            AccessLog::Stdout => Out { io: Box::new(io::stdout()), torn: false },
            AccessLog::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                let torn = file.metadata().is_ok_and(|about| about.is_file() && about.len() > 0) && breaks_off(path);
                Out { io: Box::new(file), torn }
            }
        })
    }

    /// Writes lines. One that cannot be written must not end the gateway: it is lost, as a full disk loses it, and no other
    /// with it.
    fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.torn && self.write_most(b"\n") == 0 {
            return;
        }
        let taken = self.write_most(lines);
        self.torn = taken > 0 && lines[taken - 1] != b'\n';
    }

    /// How much of it was taken.
    fn write_most(&mut self, text: &[u8]) -> usize {
        let mut taken = 0;
        while taken < text.len() {
            match self.io.write(&text[taken..]) {
                Ok(0) => break,
                Ok(n) => taken += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = self.io.flush();
        taken
    }
}

/// Whether a file's last line has no end: whoever wrote it before could not go on. One that cannot be read is taken for whole.
fn breaks_off(path: &Path) -> bool {
    let last = || {
        let (mut file, mut last) = (File::open(path)?, [0]);
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        io::Result::Ok(last != *b"\n")
    };
    last().unwrap_or(false)
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
                format(&mut text, line, batch.time_of(line), label, &mut day);
            }
        }
        out.write(&text);
        text.clear();
    }
}

/// What lines say of their route, ready to be written. A number's name never changes, so there is nothing to renew.
#[derive(Default)]
struct Labels(HashMap<StatId, Box<[u8]>, ahash::RandomState>);

impl Labels {
    /// Some hundred bytes each; with more routes in use than this, it begins anew.
    const MOST: usize = 4096;

    /// `None`: the route is gone.
    fn of(&mut self, stat: StatId, names: &Names) -> Option<&[u8]> {
        if self.0.len() >= Labels::MOST && !self.0.contains_key(&stat) {
            self.0.clear();
        }
        match self.0.entry(stat) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(new) => Some(new.insert(label(&names.name(stat)?).into())),
        }
    }
}

fn label(name: &RouteName) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(b",\"route\":");
    json_string(&mut out, &name.route);
    out.extend_from_slice(b",\"agency\":");
    json_string(&mut out, &name.agency);
    out
}

fn format(out: &mut Vec<u8>, line: &Line, at: SystemTime, label: &[u8], day: &mut Day) {
    out.extend_from_slice(b"{\"time\":\"");
    day.write(out, at);
    out.extend_from_slice(b"\",\"request_id\":\"");
    out.extend_from_slice(line.request_id.as_bytes());
    out.extend_from_slice(b"\",\"method\":\"");
    out.extend_from_slice(METHODS[usize::from(line.method)].as_bytes());
    out.push(b'"');
    out.extend_from_slice(label);
    number(out, ",\"status\":", u64::from(line.status));
    out.extend_from_slice(b",\"code\":");
    match line.code {
        Some(code) => {
            out.push(b'"');
            out.extend_from_slice(code.as_str().as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    number(out, ",\"level\":", u64::from(line.level.number()));
    if let Some(subject) = &line.subject {
        // Digits, a dot and base64url.
        out.extend_from_slice(b",\"subject\":\"");
        out.extend_from_slice(subject.as_bytes());
        out.push(b'"');
    }
    number(out, ",\"duration_us\":", micros(line.took));
    if let Some(upstream) = line.upstream {
        number(out, ",\"upstream_us\":", micros(upstream));
    }
    number(out, ",\"bytes_in\":", line.bytes_in);
    number(out, ",\"bytes_out\":", line.bytes_out);
    if line.verdict {
        out.extend_from_slice(b",\"verdict\":true");
    }
    if line.cut {
        out.extend_from_slice(b",\"cut\":true");
    }
    out.extend_from_slice(b"}\n");
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(Digits::of(value).as_bytes());
}

/// Names are configuration, but a quote in one must not break the line.
fn json_string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        let _ = serde_json::to_writer(out, text);
    }
}

/// RFC 3339 in UTC with milliseconds; the part up to the second is formatted once a second.
#[derive(Default)]
struct Day {
    second: u64,
    text: String,
}

impl Day {
    fn write(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != since.as_secs() || self.text.is_empty() {
            self.second = since.as_secs();
            self.text = date_and_time(self.second);
        }
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'.');
        out.extend_from_slice(Digits::padded(u64::from(since.subsec_millis()), 3).as_bytes());
        out.push(b'Z');
    }
}

/// `2026-11-24T10:00:00` from seconds since 1970 (proleptic Gregorian calendar, days counted from 0000-03-01).
fn date_and_time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        assert_eq!(date_and_time(0), "1970-01-01T00:00:00");
        assert_eq!(date_and_time(951_782_400), "2000-02-29T00:00:00");
        assert_eq!(date_and_time(1_795_514_400), "2026-11-24T10:00:00");
        assert_eq!(date_and_time(4_107_542_399), "2100-02-28T23:59:59");
    }

    fn line() -> Line {
        Line {
            at: Instant::now(),
            stat: StatId::UNROUTED,
            request_id: RequestId::from_bits(7),
            method: 0,
            status: 401,
            code: Some(Code::TokenMissing),
            level: Level::TWO,
            subject: Some("1.abc".into()),
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
        let out = Out { io: Box::new(full), torn: false };
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

    #[test]
    fn a_file_that_breaks_off_is_continued_on_a_line_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        for (before, after) in [("", "x\n"), ("a\n", "a\nx\n"), ("a\nb", "a\nb\nx\n")] {
            std::fs::write(&path, before).unwrap();
            Out::open(&AccessLog::File(path.clone())).unwrap().write(b"x\n");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
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

    #[test]
    fn a_line_is_json_with_the_listed_fields_only() {
        let mut out = Vec::new();
        let name = RouteName { route: "a\"b".into(), agency: "x".into() };
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        format(&mut out, &line(), at, &label(&name), &mut Day::default());
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["time"], "1970-01-01T00:00:01.500Z");
        assert_eq!((&value["route"], &value["code"]), (&"a\"b".into(), &"token_missing".into()));
        assert_eq!(value.as_object().unwrap().len(), 12);
    }
}
