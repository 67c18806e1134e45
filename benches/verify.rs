//! A signature verified by us and by `openssl speed`, by turns on one core: the bare operation is to take no more than
//! 1.1 times as long, and the rest shows what proving a token that was never seen adds to it.
//!
//! ```text
//! cargo bench --bench verify        chrt -r 20 before it, where other work goes on
//! ```

mod pieces;

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darvazeh::auth::TokenCache;
use pieces::{World, bearer};

const ROUNDS: usize = 5;
/// By turns: a machine that is slower for a while is so for both.
const TURN: Duration = Duration::from_secs(1);

/// Ours, `openssl speed`'s name, and how its machine-readable line begins.
const ALGORITHMS: [(&str, &str, &str); 2] = [("RS256", "rsa2048", "+F2:"), ("ES256", "ecdsap256", "+F4:")];

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        let world = World::with_rsa();
        return ALGORITHMS.iter().for_each(|(algorithm, ..)| {
            work(&world, algorithm, Duration::ZERO);
        });
    }
    let world = World::with_rsa();
    let version = Command::new("openssl").arg("version").output().expect("openssl is installed");
    println!("{} beside aws-lc, medians of {ROUNDS} turns, µs", String::from_utf8_lossy(&version.stdout).trim());
    println!("{:<6} {:>8} {:>8} {:>7} {:>12}", "", "openssl", "verify", "ratio", "whole proof");
    for (algorithm, name, prefix) in ALGORITHMS {
        let rounds: Vec<_> = (0..ROUNDS).map(|_| (openssl(name, prefix), work(&world, algorithm, TURN))).collect();
        let theirs = median(rounds.iter().map(|(theirs, _)| *theirs));
        let bare = median(rounds.iter().map(|(_, ours)| ours.0));
        let whole = median(rounds.iter().map(|(_, ours)| ours.1));
        let ratio = median(rounds.iter().map(|(theirs, ours)| ours.0 / theirs));
        println!("{algorithm:<6} {theirs:>8.1} {bare:>8.1} {ratio:>7.2} {whole:>12.1}");
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Microseconds of one verification: `+F2:NUMBER:BITS:SIGN:VERIFY`, the last two in operations a second (OpenSSL 3) or in
/// seconds of one (before).
fn openssl(name: &str, prefix: &str) -> f64 {
    let run = Command::new("openssl").args(["speed", "-mr", "-seconds", "1", name]).output().expect("openssl runs");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with(prefix)).expect("it says how fast it was");
    let speed: f64 = line.rsplit(':').next().and_then(|number| number.trim().parse().ok()).expect("a number");
    if speed > 1.0 { 1e6 / speed } else { 1e6 * speed }
}

/// Microseconds of the bare operation, and of a proof from the header to the permit.
fn work(world: &World, algorithm: &str, turn: Duration) -> (f64, f64) {
    let text = world.sso.token(algorithm, 1);
    let (signed, encoded) = text.rsplit_once('.').expect("a token has dots");
    let signature = URL_SAFE_NO_PAD.decode(encoded).expect("it was encoded here");
    let key = world.sso.public_key(algorithm);
    let bare = time(turn, |_| key.verify_sig(black_box(signed.as_bytes()), &signature).expect("it is good"));
    let callers: Vec<_> = (0..64).map(|id| bearer(&world.sso.token(algorithm, id))).collect();
    let cache = TokenCache::new(16, Arc::default());
    let whole = time(turn, |n| drop(world.admit(black_box(&callers[n % callers.len()]), &cache)));
    (bare, whole)
}

fn time(turn: Duration, mut work: impl FnMut(usize)) -> f64 {
    let begun = Instant::now();
    for n in 0.. {
        work(n);
        let took = begun.elapsed();
        if took >= turn {
            return took.as_secs_f64() * 1e6 / (n + 1) as f64;
        }
    }
    unreachable!("it is endless")
}
