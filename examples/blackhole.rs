//! One of three agencies stops answering under load: what do callers of the other two notice?
//!
//! Three agencies on loopback, a real gateway before them, and for each agency callers that ask at a fixed pace, whatever the
//! answers take. First all agencies answer; then the third takes connections and requests and says nothing. Prints p50, p99
//! and errors of the other two in both phases; exits 1 when there was an error, or when the p99 grew by more than `RATIO`.
//! Run by `tests/soak/blackhole`.
//!
//! Environment: `DARVAZEH_BIN` (the gateway), `RATE` (requests a second for each agency, default 2000), `CALLERS` (connections
//! for each agency, default 100), `PHASE` (seconds, default 10), `RATIO` (default 1.1).

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
/// Longer than any answer of the gateway can take here.
const PATIENCE: Duration = Duration::from_secs(10);
/// Not counted: connections open, the hole's places fill.
const WARM_UP: Duration = Duration::from_secs(3);
const AGENCIES: usize = 3;

type Trouble = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<ExitCode, Trouble> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<ExitCode, Trouble> {
    let (rate, callers) = (setting("RATE", 2000.0), setting("CALLERS", 100.0) as u32);
    let (phase, ratio) = (Duration::from_secs_f64(setting("PHASE", 10.0)), setting("RATIO", 1.1));
    let hole = Arc::new(AtomicBool::new(false));
    let mut ports = Vec::new();
    for n in 0..AGENCIES {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ports.push(listener.local_addr()?.port());
        let silent = if n == AGENCIES - 1 { hole.clone() } else { Arc::default() };
        tokio::spawn(serve(listener, silent));
    }
    let gateway = Gateway::start(&ports)?;
    println!("{rate} requests a second and {callers} callers for each of {AGENCIES} agencies; two phases of {phase:?}");
    let before = offer(gateway.port, rate, callers, phase).await;
    print_of("all answer", &before);
    hole.store(true, Ordering::Relaxed);
    let with = offer(gateway.port, rate, callers, phase).await;
    print_of("the third is a black hole", &with);
    let grown = with.p99().as_secs_f64() / before.p99().as_secs_f64().max(f64::MIN_POSITIVE);
    let good = before.errors + with.errors == 0 && grown <= ratio;
    println!("p99 of the other two: {grown:.2} times what it was; wanted: at most {ratio}, and no errors");
    println!("{}", if good { "held" } else { "NOT HELD" });
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn setting(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// An agency that answers at once, or not at all while it is `silent`.
async fn serve(listener: TcpListener, silent: Arc<AtomicBool>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let silent = silent.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut head = Vec::new();
            while read_head(&mut stream, &mut head).await.is_ok() {
                if !silent.load(Ordering::Relaxed) && stream.write_all(ANSWER).await.is_err() {
                    return;
                }
            }
        });
    }
}

struct Gateway {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Gateway {
    fn start(agencies: &[u16]) -> Result<Gateway, Trouble> {
        let mut yaml =
            "version: 1\nlisteners: [ { name: public, address: 127.0.0.1:0 } ]\naccess_log: { to: off }\nagencies:\n"
                .to_owned();
        for (n, port) in agencies.iter().enumerate() {
            let limits = "limits: { concurrent: 32, queue: 16, queue_time: 500ms }, timeouts: { response: 2s }";
            writeln!(yaml, "  a{n}: {{ endpoints: [http://127.0.0.1:{port}], health: off, {limits} }}")?;
        }
        yaml.push_str("routes:\n");
        for n in 0..agencies.len() {
            writeln!(yaml, "  - {{ name: r{n}, agency: a{n}, match: {{ prefix: /a{n} }}, require: {{ level: 0 }} }}")?;
        }
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("routes.yaml");
        std::fs::write(&file, yaml)?;
        let program = std::env::var_os("DARVAZEH_BIN").ok_or("DARVAZEH_BIN names no gateway")?;
        let mut child = Command::new(program).args(["run", "--config"]).arg(&file).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("its standard error is piped")?).lines();
        let ready = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let rest = line.split_once("ready listeners=public=127.0.0.1:")?.1;
            rest.split_whitespace().next()?.parse().ok()
        });
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("  gateway: {line}")));
        Ok(Gateway { port: ready.ok_or("the gateway did not start")?, child, _dir: dir })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What callers of the first two agencies saw.
#[derive(Default)]
struct Seen {
    /// From when a request was due, not from when its caller was free.
    took: Vec<Duration>,
    errors: usize,
}

impl Seen {
    fn at(&self, part: f64) -> Duration {
        let at = ((self.took.len() as f64 * part) as usize).min(self.took.len().saturating_sub(1));
        self.took.get(at).copied().unwrap_or_default()
    }

    fn p99(&self) -> Duration {
        self.at(0.99)
    }
}

fn print_of(phase: &str, seen: &Seen) {
    let (count, errors) = (seen.took.len(), seen.errors);
    println!("{phase}: {count} answers, p50 {:?}, p99 {:?}, {errors} errors", seen.at(0.5), seen.p99());
}

async fn offer(port: u16, rate: f64, callers: u32, phase: Duration) -> Seen {
    let pace = Duration::from_secs_f64(f64::from(callers) / rate);
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for agency in 0..AGENCIES {
        for caller in 0..callers {
            let first = begin + pace * caller / callers;
            let from = begin + WARM_UP;
            tasks.push((agency, tokio::spawn(ask(port, agency, first, pace, from, from + phase))));
        }
    }
    let mut seen = Seen::default();
    for (agency, task) in tasks {
        if let (Ok(one), true) = (task.await, agency < AGENCIES - 1) {
            seen.took.extend(one.took);
            seen.errors += one.errors;
        }
    }
    seen.took.sort_unstable();
    seen
}

/// One caller: a request each `pace`; what is due between `from` and `until` counts.
async fn ask(port: u16, agency: usize, first: Instant, pace: Duration, from: Instant, until: Instant) -> Seen {
    let request = format!("GET /a{agency}/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (mut seen, mut due, mut kept) = (Seen::default(), first, None);
    // Callers of the hole fall behind for good, and end with the phase like the others.
    while due.max(Instant::now()) < until {
        sleep_until(due).await;
        let answered = timeout(PATIENCE, exchange(port, &request, &mut kept)).await;
        let good = matches!(answered, Ok(Ok(200)));
        if answered.is_err() || matches!(answered, Ok(Err(_))) {
            kept = None;
        }
        if due >= from {
            seen.took.push(due.elapsed());
            seen.errors += usize::from(!good);
        }
        due += pace;
    }
    seen
}

async fn exchange(port: u16, request: &str, kept: &mut Option<TcpStream>) -> std::io::Result<u16> {
    if kept.is_none() {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        *kept = Some(stream);
    }
    let stream = kept.as_mut().ok_or(std::io::ErrorKind::NotConnected)?;
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::with_capacity(1024);
    let end = read_head(stream, &mut bytes).await?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let missing = length.unwrap_or(0usize).saturating_sub(bytes.len() - end);
    stream.read_exact(&mut vec![0; missing]).await?;
    head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// Reads up to the end of a head, and gives where that is.
async fn read_head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    bytes.clear();
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(at + 4);
        }
        if stream.read_buf(bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
