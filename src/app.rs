//! Start-up as one story: build, bind, serve, drain. Floor 6; the command line and the demo both start the gateway here.

pub mod notify;
pub mod reload;
pub mod started;
pub mod upgrade;
pub mod watch;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use self::notify::Notify;
use self::reload::Reloader;
use self::started::Started;
use self::upgrade::{Program, TakenOver, Upgrader};
use crate::admin::reloads::Reloads;
use crate::admin::upgrades::{self, Upgrades};
use crate::admin::{self, Control};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::listen::handoff::Inherited;
use crate::listen::thread::Patience;
use crate::listen::{ListenerLive, Order, WorkerHandle, thread};
use crate::live::{Live, Surroundings, compile};
use crate::observe::{Names, access_log};

/// Why the gateway could not start. The text is for the operator.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError(error.to_string())
    }
}

/// How long answers of the admin listener may take to leave at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// A gateway that serves. Ends by [`drain`](Running::drain) or [`hand_on`](Running::hand_on); dropping it cuts everything.
pub struct Running {
    pub listeners: Vec<(Arc<str>, SocketAddr)>,
    pub admin: Option<SocketAddr>,
    control: Arc<Control>,
    workers: Vec<WorkerHandle>,
    log: access_log::Writer,
    /// Keys are refreshed and the admin listener answers here.
    runtime: Runtime,
    notify: Notify,
    /// The admin listener, and the word that ends it.
    admin_task: Option<JoinHandle<JoinSet<()>>>,
    leave: tokio::sync::watch::Sender<bool>,
    /// For [`upgradable`](Running::upgradable): the wishes, and the admin socket with its address as written.
    wishes: mpsc::UnboundedReceiver<upgrades::Wish>,
    admin_socket: Option<(SocketAddr, std::net::TcpListener)>,
    upgrades_task: Option<JoinHandle<()>>,
}

/// Starts everything. Every listener accepts when this returns. Must be called outside of any runtime.
pub fn start(loaded: Loaded, workers: Option<usize>) -> Result<Running, StartError> {
    start_on(Inherited::default(), loaded, workers, Notify::default())
}

/// Like [`start`], on sockets that were inherited where a listener finds its own among them.
pub fn start_on(
    mut inherited: Inherited,
    loaded: Loaded,
    workers: Option<usize>,
    notify: Notify,
) -> Result<Running, StartError> {
    let Loaded { config, last_good, .. } = loaded;
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("control").enable_all().build()?;
    let names = Arc::new(Names::default());
    let clock = Clock::system();
    let around = Surroundings { control: runtime.handle().clone(), clock: clock.clone(), names: names.clone() };
    let started = Started::new(&config, workers);
    let count = workers.or(config.workers).unwrap_or_else(cores).max(1);
    let (log_to, admin_address) = (config.access_log.clone(), config.admin);
    let mut snapshot = compile(config, None, &around).map_err(StartError)?;
    let config = snapshot.config.clone();

    let opened = config.listeners.iter().map(|listener| {
        let sockets = inherited.take(&listener.name, listener.address);
        ListenerLive::open(listener, sockets, count)
    });
    let opened = opened.collect::<io::Result<Vec<_>>>()?;
    snapshot.listeners = opened.iter().map(|(listener, _)| (listener.id, listener.name())).collect();
    let admin_socket = admin_address.map(|asked| Ok((asked, open_admin(asked, &mut inherited)?)));
    let admin_socket = admin_socket.transpose().map_err(StartError)?;
    let legacy = inherited.legacy;
    inherited.close().map_err(StartError)?;

    let live = Arc::new(Live::new(snapshot, runtime.handle().clone()));
    let log = access_log::start(&log_to, names.clone())
        .map_err(|error| StartError(format!("the access log cannot be written: {error}")))?;
    let workers = (0..count).map(|index| thread::start(index, live.clone(), log.sender.clone(), clock.clone()));
    let workers = workers.collect::<io::Result<Vec<_>>>()?;
    let (reloads, reload_wishes) = Reloads::new();
    let (upgrades, wishes) = Upgrades::new(legacy.upgrades);
    let control = Arc::new(Control {
        live,
        names,
        clock,
        listeners: ArcSwap::from_pointee(opened.iter().map(|(listener, _)| listener.clone()).collect()),
        reloads,
        upgrades,
        workers: workers.iter().map(|worker| worker.orders.clone()).collect(),
        caches: workers.iter().map(|worker| worker.cache.clone()).collect(),
        draining: false.into(),
    });
    if legacy.has_keys {
        // Until then the process before answers what this one could not.
        runtime.block_on(keys(&control));
    }
    for (listener, shares) in opened {
        for (worker, sockets) in workers.iter().zip(shares) {
            let _ = worker.orders.send(Order::Listen(listener.clone(), sockets));
        }
    }

    let (leave, left) = tokio::sync::watch::channel(false);
    let admin_task = admin_socket.as_ref().map(|(_, socket)| serve_admin(socket, &runtime, &control, left));
    let admin_task = admin_task.transpose()?;
    let (file, last_good) = (config.file.clone(), last_good.into());
    let (outlet, notify_reloads) = (log.outlet.clone(), notify.clone());
    let reloader = Reloader {
        file,
        control: control.clone(),
        around,
        last_good,
        started,
        outlet,
        notify: notify_reloads,
        renewal_refused: false.into(),
    };
    runtime.spawn(reload::serve(Arc::new(reloader), reload_wishes));
    runtime.spawn(watch::serve(control.clone(), watch::prints(&config)));
    runtime.spawn(notify.clone().watchdog(control.clone()));
    let listeners = control.listeners.load().iter().map(|l| (l.name(), l.address)).collect();
    let admin = admin_socket.as_ref().map(|(_, socket)| socket.local_addr()).transpose()?;
    Ok(Running {
        listeners,
        admin,
        control,
        workers,
        log,
        runtime,
        notify,
        admin_task,
        leave,
        wishes,
        admin_socket,
        upgrades_task: None,
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn open_admin(asked: SocketAddr, inherited: &mut Inherited) -> Result<std::net::TcpListener, String> {
    let socket = inherited.take_admin(asked).map_or_else(|| std::net::TcpListener::bind(asked), Ok);
    let socket = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    socket.map_err(|error| format!("admin: {asked}: {error}"))
}

fn serve_admin(
    socket: &std::net::TcpListener,
    runtime: &Runtime,
    control: &Arc<Control>,
    leave: tokio::sync::watch::Receiver<bool>,
) -> io::Result<JoinHandle<JoinSet<()>>> {
    let socket = socket.try_clone()?;
    let socket = runtime.block_on(async { TcpListener::from_std(socket) })?;
    Ok(runtime.spawn(admin::server::serve(socket, control.clone(), leave)))
}

/// Returns when every issuer's keys are there.
async fn keys(control: &Control) {
    while !control.has_keys() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Running {
    /// `ready listeners=public=127.0.0.1:8443 admin=127.0.0.1:9901` (contract section 1).
    pub fn ready_line(&self) -> String {
        let listeners: Vec<String> = self.listeners.iter().map(|(name, address)| format!("{name}={address}")).collect();
        let admin = self.admin.map_or_else(|| "-".to_owned(), |address| address.to_string());
        format!("ready listeners={} admin={admin}", listeners.join(","))
    }

    /// Asks for a reload of the file; its outcome is told to the log, the metrics and `/config`.
    pub fn wish_reload(&self) {
        self.control.reloads.wish();
    }

    /// Asks for an upgrade; its outcome is told to the log and the metrics.
    pub fn wish_upgrade(&self) {
        self.control.upgrades.wish();
    }

    /// From now on upgrades start `program`. Tells when a process has taken over.
    pub fn upgradable(&mut self, program: Program, limit: Duration) -> oneshot::Receiver<TakenOver> {
        let (taken_over, told) = oneshot::channel();
        let (control, notify) = (self.control.clone(), self.notify.clone());
        let upgrader = Upgrader { program, limit, control, admin: self.admin_socket.take(), notify };
        let wishes = std::mem::replace(&mut self.wishes, mpsc::unbounded_channel().1);
        let serving = upgrade::serve(Arc::new(upgrader), wishes, taken_over);
        self.upgrades_task = Some(self.runtime.spawn(serving));
        told
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Of the configuration in force: a reload may have changed it.
    fn drain_limit(&self) -> Duration {
        self.control.live.load().config.drain
    }

    /// Accepts no more, finishes what is under way within `drain`, and ends. Gives the number of connections that were cut.
    pub fn drain(self) -> usize {
        self.notify.stopping();
        self.stop_accepting(Patience::ending(self.drain_limit()));
        self.finish()
    }

    /// Like [`drain`](Running::drain), for when another process accepts on the same sockets: to that one belong probes and
    /// scrapers too. Lets `taken_over` know when nothing new comes here any more.
    pub fn hand_on(mut self, taken_over: TakenOver) -> usize {
        let admin = self.close_admin();
        self.stop_accepting(Patience::handed_on(self.drain_limit()));
        self.runtime.block_on(self.control.answers(FAREWELL));
        taken_over.let_go();
        if let Some(told) = self.upgrades_task.take() {
            // To the log, and to who asked for it: that one's connection is among those to the admin listener.
            let _ = self.runtime.block_on(told);
        }
        self.runtime.block_on(farewell(admin));
        self.finish()
    }

    fn stop_accepting(&self, patience: Patience) {
        self.control.draining.store(true, Ordering::Relaxed);
        for listener in self.control.listeners.load().iter() {
            listener.release();
        }
        for worker in &self.workers {
            let _ = worker.orders.send(Order::Drain(patience));
        }
    }

    /// Gives the connections to the admin listener that are open still.
    fn close_admin(&mut self) -> Option<JoinSet<()>> {
        self.leave.send_replace(true);
        let task = self.admin_task.take()?;
        self.runtime.block_on(task).ok()
    }

    fn finish(mut self) -> usize {
        let cut = std::mem::take(&mut self.workers).into_iter().map(|worker| worker.thread.join().unwrap_or(0)).sum();
        let admin = self.close_admin();
        self.runtime.block_on(farewell(admin));
        drop(self.log.sender);
        let _ = self.log.thread.join();
        self.runtime.shutdown_background();
        cut
    }
}

/// Waits until what was asked of the admin listener is answered.
async fn farewell(connections: Option<JoinSet<()>>) {
    let Some(mut connections) = connections else { return };
    let _ = tokio::time::timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await;
}
