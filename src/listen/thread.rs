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
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::accept::accept;
use super::listener::ListenerLive;
use crate::auth::TokenCache;
use crate::auth::cache::CacheStats;
use crate::balance::ledger::LedgerReport;
use crate::balance::pool::EndpointReport;
use crate::clock::Clock;
use crate::closing::{Closing, Word};
use crate::config::model::AccessLog;
use crate::limit::overload::{INTERVAL, SAMPLE};
use crate::live::Live;
use crate::observe::access_log::{Batch, LogBuffer};
use crate::observe::memory;
use crate::observe::record::Books;
use crate::observe::{Report, Tally};
use crate::pipeline::Worker;
use crate::words::ListenerId;

/// Verified tokens a worker remembers, at the most.
const TOKENS: usize = 32 * 1024;
/// How long an access-log line may wait to be handed over.
const TICK: Duration = Duration::from_millis(100);
/// Every so many ticks, connections that are idle too long are closed.
const TIDY: u32 = 20;

pub enum Order {
    Listen(Arc<ListenerLive>, Vec<Socket>),
    /// A listener is gone: accept no more on it, and finish its connections.
    Unlisten(ListenerId, Patience),
    /// Another snapshot is in force: streams whose route is gone must hear of it.
    Adopt,
    Report(oneshot::Sender<WorkerReport>),
    /// Answer, to show that the thread is alive.
    Ping(oneshot::Sender<()>),
    /// Accept no more, finish what is under way, and end.
    Drain(Patience),
}

/// How long connections are borne with once nothing new is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Idle ones, each of which may still ask once.
    pub idle: Duration,
    /// All of them.
    pub all: Duration,
}

/// Where nobody has taken over, idle connections are not waited for much longer than a request is on its way.
const IDLE: Duration = Duration::from_secs(1);

impl Patience {
    /// For a gateway that ends, or a listener that is gone.
    pub fn ending(drain: Duration) -> Patience {
        Patience { idle: IDLE.min(drain / 2), all: drain }
    }

    /// For a gateway whose successor serves: nothing waits for its end, and so idle connections have nearly all of it.
    pub fn handed_on(drain: Duration) -> Patience {
        Patience { idle: drain / 10 * 9, all: drain }
    }
}

/// A copy of one worker's counters.
#[derive(Clone, Debug, Default)]
pub struct WorkerReport {
    pub tally: Report,
    pub endpoints: Vec<EndpointReport>,
    pub ledgers: Vec<(Arc<str>, LedgerReport)>,
}

pub struct WorkerHandle {
    pub orders: mpsc::UnboundedSender<Order>,
    pub cache: Arc<CacheStats>,
    /// Gives the number of connections that had to be cut.
    pub thread: JoinHandle<usize>,
}

/// Starts a worker. Errors: no thread, or no runtime.
pub fn start(index: usize, live: Arc<Live>, log: SyncSender<Batch>, clock: Clock) -> std::io::Result<WorkerHandle> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let cache = Arc::new(CacheStats::default());
    let stats = cache.clone();
    let runtime = move || Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let runtime = runtime().expect("a runtime can be built: its descriptors are the process's first");
        runtime.block_on(async move {
            let log = LogBuffer::new(log, live.load().config.access_log != AccessLog::Off);
            let books = Books { tally: Rc::new(Tally::default()), log: Rc::new(log) };
            let worker = Rc::new(Worker::new(live, TokenCache::new(TOKENS, stats), books, clock));
            work(worker, inbox).await
        })
    })?;
    Ok(WorkerHandle { orders, cache, thread })
}

/// The word for each listener's connections.
type Closings = HashMap<ListenerId, Closing>;
/// What accepts, to its end.
type Accepting = JoinSet<()>;

async fn work(worker: Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Order>) -> usize {
    let (mut closings, mut accepting) = (Closings::new(), Accepting::new());
    let _watch = AbortOnDrop(tokio::task::spawn_local(watch(worker.clone())));
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0u32;
    let patience = loop {
        tokio::select! {
            order = inbox.recv() => match order {
                Some(Order::Listen(listener, sockets)) => {
                    listen(&worker, &mut closings, &mut accepting, &listener, sockets);
                }
                Some(Order::Unlisten(id, patience)) => unlisten(&mut closings, id, patience),
                Some(Order::Adopt) => worker.adopt(),
                Some(Order::Report(answer)) => drop(answer.send(report(&worker))),
                Some(Order::Ping(answer)) => drop(answer.send(())),
                Some(Order::Drain(patience)) => break patience,
                None => break Patience { idle: Duration::ZERO, all: Duration::ZERO },
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
    let begun = Instant::now();
    closings.values().for_each(|closing| closing.say(Word::Last));
    // Before the next order is answered: whoever waits for that may rely on it that we accept no more.
    while accepting.join_next().await.is_some() {}
    let cut = finish(&worker, &closings, &mut inbox, begun, patience).await;
    worker.books.log.flush(&worker.books.tally);
    cut
}

/// Measures how long the worker's queue is, and sets what is turned away. The timer's own grain, a millisecond, is no delay.
async fn watch(worker: Rc<Worker>) {
    const GRAIN: Duration = Duration::from_millis(1);
    let allowed = memory::allowed();
    let mut last = Instant::now();
    loop {
        let due = Instant::now() + SAMPLE;
        sleep_until(due).await;
        let now = Instant::now();
        worker.overload.sample((now - due).saturating_sub(GRAIN));
        let passed = now - last;
        if passed < INTERVAL {
            continue;
        }
        last = now;
        let mut limits = worker.view().snapshot.config.overload;
        // Nine tenths: beyond its group's limit the process would be killed.
        limits.memory = limits.memory.or(allowed.map(|bytes| bytes / 10 * 9));
        let resident = limits.memory.and_then(|_| memory::resident());
        let (share, delay) = worker.overload.adjust(&limits, passed, resident);
        worker.books.tally.shed_share.set(share);
        worker.books.tally.queue_delay.set(delay);
    }
}

/// Ends a task of the worker with the worker.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn listen(
    worker: &Rc<Worker>,
    closings: &mut Closings,
    accepting: &mut Accepting,
    listener: &Arc<ListenerLive>,
    sockets: Vec<Socket>,
) {
    let closing = closings.entry(listener.id).or_default();
    for socket in sockets {
        match TcpListener::from_std(socket) {
            Ok(socket) => {
                accepting.spawn_local(accept(socket, listener.clone(), worker.clone(), closing.clone()));
            }
            Err(error) => eprintln!("error: listener {} cannot accept: {error}", listener.name()),
        }
    }
}

fn unlisten(closings: &mut Closings, id: ListenerId, patience: Patience) {
    if let Some(closing) = closings.remove(&id) {
        closing.say(Word::Last);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(patience.idle).await;
            closing.say(Word::Close);
            tokio::time::sleep(patience.all.saturating_sub(patience.idle)).await;
            closing.say(Word::Cut);
        });
    }
}

/// Waits until every connection has ended, or patience has. Gives the number that had not, and were cut.
async fn finish(
    worker: &Rc<Worker>,
    closings: &Closings,
    inbox: &mut mpsc::UnboundedReceiver<Order>,
    begun: Instant,
    patience: Patience,
) -> usize {
    let say = |word| closings.values().for_each(|closing| closing.say(word));
    wait(worker, closings, inbox, begun + patience.idle).await;
    say(Word::Close);
    wait(worker, closings, inbox, begun + patience.all).await;
    let cut = open(closings);
    say(Word::Cut);
    cut
}

/// Waits until no connection is open, or for the time.
async fn wait(worker: &Rc<Worker>, closings: &Closings, inbox: &mut mpsc::UnboundedReceiver<Order>, until: Instant) {
    // A closing connection is noticed within this: drain is measured in seconds.
    let mut look = interval(Duration::from_millis(10));
    while open(closings) > 0 {
        tokio::select! {
            // A drain may take as long as it likes; its lines need not wait for its end.
            _ = look.tick() => worker.books.log.flush(&worker.books.tally),
            () = sleep_until(until) => return,
            Some(order) = inbox.recv() => match order {
                Order::Report(answer) => drop(answer.send(report(worker))),
                Order::Ping(answer) => drop(answer.send(())),
                _ => {}
            }
        }
    }
}

fn open(closings: &Closings) -> usize {
    closings.values().map(Closing::ears).sum()
}

fn report(worker: &Worker) -> WorkerReport {
    let pools = &worker.pools;
    WorkerReport { tally: worker.books.tally.report(), endpoints: pools.report(), ledgers: pools.ledgers() }
}
