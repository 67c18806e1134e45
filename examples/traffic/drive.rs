//! Callers in a closed loop: each asks, waits for the answer, and asks again. They count what they were answered and what
//! CPU time the gateway took meanwhile, which the kernel tells of each of its threads in nanoseconds.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::caller::{self, Tls};

/// A stride that scatters: neighbours in the list are not asked one after another.
const STRIDE: usize = 7919;

struct Plan {
    pid: u64,
    /// Whole requests, asked in turn.
    requests: Vec<Vec<u8>>,
    asked: Cell<usize>,
    answered: Cell<u64>,
    failed: Cell<u64>,
    goes_on: Cell<bool>,
}

type Callers = Vec<Tls<TcpStream>>;

/// Of the plan: `address`, `pid` of the gateway, `connections`, `in_flight` (at most so many requests at once, going round all
/// connections), `fields` (field lines added to each request), `targets` (pairs of path and token).
pub fn obey() {
    let mut lines = std::io::stdin().lines().map_while(Result::ok);
    let plan: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    let number = |key: &str| usize::try_from(plan[key].as_u64().unwrap()).unwrap();
    let more: String =
        (0..number("fields")).map(|n| format!("X-Field-{n:03}: the value of a field, {n:03}\r\n")).collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let request = |pair: &Value| caller::get(&text(&pair[0]), &text(&pair[1]), &more);
    let work = Rc::new(Plan {
        pid: plan["pid"].as_u64().unwrap(),
        requests: plan["targets"].as_array().unwrap().iter().map(request).collect(),
        asked: Cell::new(0),
        answered: Cell::new(0),
        failed: Cell::new(0),
        goes_on: Cell::new(true),
    });
    let address = text(&plan["address"]).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    let mut callers = tasks.block_on(&runtime, connect(address, number("connections"), number("in_flight")));
    println!("ready");
    for line in lines {
        let seconds: f64 = line.strip_prefix("go ").unwrap().parse().unwrap();
        let told = tasks.block_on(&runtime, window(&work, &mut callers, seconds));
        println!("{told}");
    }
}

/// Groups of callers: of each group, one at a time has a request in flight.
async fn connect(address: SocketAddr, connections: usize, in_flight: usize) -> Vec<Callers> {
    let config = Arc::new(crate::tls::config());
    let mut groups: Vec<Callers> = (0..in_flight.min(connections)).map(|_| Vec::new()).collect();
    let count = groups.len();
    for number in 0..connections {
        let stream = caller::tcp(address, number).await;
        groups[number % count].push(caller::tls(stream, &config).await);
    }
    groups
}

async fn window(work: &Rc<Plan>, groups: &mut Vec<Callers>, seconds: f64) -> Value {
    work.goes_on.set(true);
    let tasks: Vec<_> = groups.drain(..).map(|group| tokio::task::spawn_local(ask(work.clone(), group))).collect();
    tokio::time::sleep(Duration::from_secs_f64(seconds / 4.0)).await;
    let before = (work.answered.get(), cpu_nanos(work.pid), Instant::now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let answered = work.answered.get() - before.0;
    let cpu = cpu_nanos(work.pid) - before.1;
    let took = before.2.elapsed().as_secs_f64();
    work.goes_on.set(false);
    for task in tasks {
        groups.push(task.await.unwrap());
    }
    json!({"answered": answered, "cpu_ns": cpu, "seconds": took, "failed": work.failed.get()})
}

async fn ask(work: Rc<Plan>, mut group: Callers) -> Callers {
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut next = 0;
    while work.goes_on.get() {
        let asked = work.asked.get();
        work.asked.set(asked + 1);
        let request = &work.requests[asked.wrapping_mul(STRIDE) % work.requests.len()];
        let good = caller::call(&mut group[next], request, &mut buffer).await;
        let count = if good { &work.answered } else { &work.failed };
        count.set(count.get() + 1);
        next = (next + 1) % group.len();
    }
    group
}

/// What all threads of a process have run, in nanoseconds.
fn cpu_nanos(pid: u64) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .map(|thread| {
            // A thread may end between the two looks.
            let text = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|ran| ran.parse::<u64>().ok()).unwrap_or(0)
        })
        .sum()
}
