//! A worker thread: one runtime, its own sockets, caches and connections; orders come from the control plane.

use std::collections::HashMap;
use std::net::TcpListener as Socket;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::accept::accept;
use super::listener::ListenerLive;
use crate::auth::TokenCache;
use crate::auth::cache::CacheStats;
use crate::balance::pool::EndpointReport;
use crate::clock::Clock;
use crate::closing::Closing;
use crate::live::Live;
use crate::observe::access_log::{Line, LogBuffer};
use crate::observe::record::Books;
use crate::observe::{Report, Tally};
use crate::pipeline::Worker;

/// Verified tokens a worker remembers, at the most.
const TOKENS: usize = 32 * 1024;
/// How long an access-log line may wait to be handed over.
const TICK: Duration = Duration::from_millis(100);
/// Every so many ticks, connections that are idle too long are closed.
const TIDY: u32 = 20;

pub enum Order {
    Listen(Arc<ListenerLive>, Socket),
    /// A listener of this name is gone: accept no more on it, finish its connections, cut them after this long.
    Unlisten(Arc<str>, Duration),
    /// Another snapshot is in force: streams whose route is gone must hear of it.
    Adopt,
    Report(oneshot::Sender<WorkerReport>),
    /// Accept no more, finish what is under way, and end: at the latest after this long.
    Drain(Duration),
}

/// A copy of one worker's counters.
#[derive(Clone, Debug, Default)]
pub struct WorkerReport {
    pub tally: Report,
    pub endpoints: Vec<EndpointReport>,
}

pub struct WorkerHandle {
    pub orders: mpsc::UnboundedSender<Order>,
    pub cache: Arc<CacheStats>,
    /// Gives the number of connections that had to be cut.
    pub thread: JoinHandle<usize>,
}

/// Starts a worker. Errors: no thread, or no runtime.
pub fn start(
    index: usize,
    live: Arc<Live>,
    log: Option<SyncSender<Vec<Line>>>,
    clock: Clock,
) -> std::io::Result<WorkerHandle> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let cache = Arc::new(CacheStats::default());
    let stats = cache.clone();
    let runtime = move || Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let runtime = runtime().expect("a runtime can be built: its descriptors are the process's first");
        runtime.block_on(async move {
            let log = log.map_or_else(LogBuffer::off, LogBuffer::new);
            let books = Books { tally: Rc::new(Tally::default()), log: Rc::new(log) };
            let worker = Rc::new(Worker::new(live, TokenCache::new(TOKENS, stats), books, clock));
            work(worker, inbox).await
        })
    })?;
    Ok(WorkerHandle { orders, cache, thread })
}

/// The word for each listener's connections.
type Closings = HashMap<Arc<str>, Closing>;

async fn work(worker: Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Order>) -> usize {
    let mut closings = Closings::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0u32;
    let deadline = loop {
        tokio::select! {
            order = inbox.recv() => match order {
                Some(Order::Listen(listener, socket)) => listen(&worker, &mut closings, listener, socket),
                Some(Order::Unlisten(name, limit)) => unlisten(&mut closings, &name, limit),
                Some(Order::Adopt) => worker.adopt(),
                Some(Order::Report(answer)) => drop(answer.send(report(&worker))),
                Some(Order::Drain(limit)) => break Instant::now() + limit,
                None => break Instant::now(),
            },
            _ = tick.tick() => {
                worker.books.log.flush(&worker.books.tally);
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(TIDY) {
                    worker.pools.tidy();
                }
            }
        }
    };
    closings.values().for_each(Closing::say);
    let cut = finish(&worker, &closings, &mut inbox, deadline).await;
    closings.values().for_each(Closing::cut);
    worker.books.log.flush(&worker.books.tally);
    cut
}

fn listen(worker: &Rc<Worker>, closings: &mut Closings, listener: Arc<ListenerLive>, socket: Socket) {
    let closing = Closing::default();
    closings.insert(listener.name.clone(), closing.clone());
    match TcpListener::from_std(socket) {
        Ok(socket) => drop(tokio::task::spawn_local(accept(socket, listener, worker.clone(), closing))),
        Err(error) => eprintln!("error: listener {} cannot accept: {error}", listener.name),
    }
}

fn unlisten(closings: &mut Closings, name: &str, limit: Duration) {
    if let Some(closing) = closings.remove(name) {
        closing.say();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(limit).await;
            closing.cut();
        });
    }
}

/// Waits until every connection has ended, or for the deadline. Gives the number that had not.
async fn finish(
    worker: &Rc<Worker>,
    closings: &Closings,
    inbox: &mut mpsc::UnboundedReceiver<Order>,
    deadline: Instant,
) -> usize {
    // A closing connection is noticed within this: drain is measured in seconds.
    let mut look = interval(Duration::from_millis(10));
    let open = || closings.values().map(Closing::ears).sum();
    while open() > 0 {
        tokio::select! {
            _ = look.tick() => {}
            () = sleep_until(deadline) => break,
            Some(order) = inbox.recv() => if let Order::Report(answer) = order {
                let _ = answer.send(report(worker));
            }
        }
    }
    open()
}

fn report(worker: &Worker) -> WorkerReport {
    WorkerReport { tally: worker.books.tally.report(), endpoints: worker.pools.report() }
}
