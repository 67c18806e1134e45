//! How many instructions the hot pieces and a whole request take, held against the figures kept in `counts.json`: a count
//! is the same on a busy machine as on an idle one, where a time is not.
//!
//! ```text
//! cargo bench --profile counts --bench counts                compares, and fails past +5 %
//! cargo bench --profile counts --bench counts -- --renew     keeps what is counted now
//! ```
//!
//! Each count is the difference of two runs under valgrind's callgrind, of which one does the piece more often: what comes
//! before and after falls out. A whole request is counted in the program itself, all of its threads, with caller and agency
//! outside. Valgrind shows every program the same processor with AVX2, whatever the machine has beyond that, so the code that
//! cryptography and searches choose is the same too. The allocator is the gateway's own, which callgrind leaves in place.
//! Hashes are seeded anew in each run, and even out over the repetitions.
//!
//! Without `--bench`, as tests run it, every piece is only done a few times.

mod pieces;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use darvazeh::cli::certs;
use pieces::sso::Sso;
use pieces::wire::{self, Caller};
use pieces::{PIECES, Piece, World};
use serde_json::{Value, json};

/// As in the program: an allocation is to cost here what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Percent that a count may grow. Runs of one program differ by less than one.
const TOLERANCE: f64 = 5.0;
/// Done before and beside what is counted: caches are filled and buffers grown by then.
const WARM: u64 = 64;
/// Requests of the longer run.
const REQUESTS: u64 = 1_000;

/// Whole requests: name, path, status. The token's level is 2.
const REQUESTS_OF: [(&str, &str, u16); 3] =
    [("request", "/guarded", 200), ("request, open", "/open", 200), ("request, level too low", "/errand", 401)];

type Counts = BTreeMap<String, u64>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if let [mode, name, times, folder] = &arguments[..]
        && mode == "--do"
    {
        let times: u64 = times.parse().expect("a number");
        piece(name).with_kept(Path::new(folder), |mut work| (0..times).for_each(|_| work()));
        return ExitCode::SUCCESS;
    }
    if !has("--bench") {
        return try_all();
    }
    // `cargo bench` without a profile has another one, and other counts.
    if std::env::current_exe().is_ok_and(|exe| !exe.components().any(|part| part.as_os_str() == "counts")) {
        println!("instructions are counted by: cargo bench --profile counts --bench counts");
        return ExitCode::SUCCESS;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("counts");
    std::fs::create_dir_all(&folder).expect("a directory");
    let counter = Counter::new(&folder);
    let counts = counter.all();
    if has("--renew") {
        keep(&counts);
        return ExitCode::SUCCESS;
    }
    compare(counts, &counter)
}

fn piece(name: &str) -> &'static Piece {
    PIECES.iter().find(|piece| piece.name == name).expect("a piece of this name")
}

fn try_all() -> ExitCode {
    for piece in &PIECES {
        piece.with(|mut work| (0..3).for_each(|_| work()));
    }
    let house = House::new();
    for (_, path, status) in REQUESTS_OF {
        house.serve(Command::new(PROGRAM), path, status, 3);
    }
    ExitCode::SUCCESS
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_darvazeh");

/// Counts each of `PIECES` and `REQUESTS_OF` by its name.
struct Counter {
    /// Where callgrind's files go.
    folder: PathBuf,
    world: tempfile::TempDir,
    house: House,
}

impl Counter {
    fn new(folder: &Path) -> Counter {
        let world = tempfile::tempdir().expect("a directory");
        World::keep(world.path());
        Counter { folder: folder.to_owned(), world, house: House::new() }
    }

    fn all(&self) -> Counts {
        let names = PIECES.iter().map(|piece| piece.name).chain(REQUESTS_OF.map(|(name, ..)| name));
        names.map(|name| (name.to_owned(), self.count(name))).collect()
    }

    fn count(&self, name: &str) -> u64 {
        match REQUESTS_OF.iter().find(|(of, ..)| *of == name) {
            Some((_, path, status)) => self.count_request(name, path, *status),
            None => self.count_piece(piece(name)),
        }
    }

    fn count_piece(&self, piece: &Piece) -> u64 {
        let start = |times: u64, file: &Path| {
            let mut command = callgrind(file);
            command.arg(std::env::current_exe().expect("it runs"));
            command.args(["--do", piece.name, &times.to_string()]).arg(self.world.path());
            command.spawn().expect("valgrind is installed")
        };
        // Side by side: a count is the same however fast it is.
        let (few, many) = (self.folder.join("few.out"), output(&self.folder, piece.name));
        let children = [start(WARM, &few), start(WARM + piece.times, &many)];
        children.into_iter().for_each(finish);
        each(instructions(&few), instructions(&many), piece.times)
    }

    fn count_request(&self, name: &str, path: &str, status: u16) -> u64 {
        let total = |times: u64| {
            let file = output(&self.folder, name);
            let mut command = callgrind(&file);
            command.arg(PROGRAM);
            self.house.serve(command, path, status, times);
            instructions(&file)
        };
        each(total(WARM), total(WARM + REQUESTS), REQUESTS)
    }
}

fn each(few: u64, many: u64, times: u64) -> u64 {
    many.saturating_sub(few).div_ceil(times)
}

/// Where the file of a piece is.
fn output(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{}.out", name.replace(", ", "-").replace(' ', "-")))
}

/// `file`: what `callgrind_annotate` reads.
fn callgrind(file: &Path) -> Command {
    let _ = std::fs::remove_file(file);
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display()));
    // Memory is given back to the system by the clock, which runs faster under valgrind than the program does.
    command.env("MIMALLOC_PURGE_DELAY", "-1");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn finish(child: Child) {
    let output = child.wait_with_output().expect("it can be waited for");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Those of all threads.
fn instructions(file: &Path) -> u64 {
    let text = std::fs::read_to_string(file).expect("callgrind has written its file");
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("callgrind sums up");
    totals.trim().parse().expect("a number")
}

/// A configuration, an agency and a token.
struct House {
    folder: tempfile::TempDir,
    config: PathBuf,
    token: String,
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().expect("a directory");
        certs::dev(folder.path(), &["localhost".to_owned()]).expect("certificates");
        let token = Sso::new(folder.path()).token("ES256", 1);
        let config = wire::config(folder.path(), wire::agency(), "access.log");
        House { folder, config, token }
    }

    /// Runs the program by `command`, asks it `times` times over one connection, and lets it drain.
    fn serve(&self, mut command: Command, path: &str, status: u16, times: u64) {
        command.args(["run", "--config"]).arg(&self.config).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
        let address = ready(&mut said);
        let mut caller = Caller::new(address, &self.folder.path().join("ca.pem"), path, &self.token, status);
        (0..times).for_each(|_| caller.call());
        drop(caller);
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it runs");
        let mut rest = String::new();
        let _ = std::io::Read::read_to_string(&mut said, &mut rest);
        assert!(child.wait().expect("it can be waited for").success(), "{rest}");
    }
}

/// The listener's address in the line that says `ready`.
fn ready(said: &mut impl BufRead) -> SocketAddr {
    let mut all = String::new();
    for line in said.lines() {
        let line = line.expect("it speaks UTF-8");
        let address = line.strip_prefix("ready listeners=public=").and_then(|rest| rest.split(' ').next());
        if let Some(address) = address {
            return address.parse().expect("an address");
        }
        all.push_str(&line);
    }
    panic!("it did not start: {all}");
}

fn kept_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/counts.json")
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn keep(counts: &Counts) {
    let text =
        serde_json::to_string_pretty(&json!({ "rustc": compiler(), "instructions": counts })).expect("it is JSON");
    std::fs::write(kept_in(), text + "\n").expect("it can be written");
    counts.iter().for_each(|(name, count)| println!("{count:>9}  {name}"));
}

fn compare(counts: Counts, counter: &Counter) -> ExitCode {
    let text = std::fs::read_to_string(kept_in()).expect("benches/counts.json is there");
    let kept: Value = serde_json::from_str(&text).expect("benches/counts.json is JSON");
    let (mut more, mut fewer) = (Vec::new(), false);
    println!("{:>9} {:>9} {:>8}  instructions of", "kept", "now", "change");
    for (name, mut now) in counts {
        let before = kept["instructions"][&name].as_u64();
        let change = |now: u64| before.map_or(f64::INFINITY, |before| (now as f64 / before as f64 - 1.0) * 100.0);
        // Twice more before it is called so: what the program does by the clock adds to a request, some 3 % either way.
        for _ in 0..2 {
            if change(now) > TOLERANCE && before.is_some() {
                now = now.min(counter.count(&name));
            }
        }
        let change = change(now);
        let verdict = if change > TOLERANCE { "  TOO MANY" } else { "" };
        println!("{:>9} {now:>9} {change:>+7.1}%  {name}{verdict}", before.unwrap_or(0));
        fewer |= change < -TOLERANCE;
        if change > TOLERANCE {
            more.push(name);
        }
    }
    if kept["rustc"] != compiler() {
        println!("\nThe kept figures are of {}, these of {}.", kept["rustc"], compiler());
    }
    if fewer {
        println!("\nSome take fewer by more than {TOLERANCE} %. To hold on to that:\n{RENEW}");
    }
    if more.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nSome take more by over {TOLERANCE} %. Where they go (before and after tell):");
    more.iter().for_each(|name| println!("  callgrind_annotate {}", output(&counter.folder, name).display()));
    println!("If that is what it costs, keep it, and say in the commit what it buys:\n{RENEW}");
    ExitCode::FAILURE
}

const RENEW: &str = "  cargo bench --profile counts --bench counts -- --renew";
