//! Start-up as one story: build, bind, serve, drain. Floor 6; the command line and the demo both start the gateway here.

pub mod reload;
pub mod watch;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use self::reload::Reloader;
use crate::admin::reloads::Reloads;
use crate::admin::{self, Control};
use crate::clock::Clock;
use crate::config::Loaded;
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

/// A gateway that serves. Ends by [`drain`](Running::drain); dropping it cuts everything.
pub struct Running {
    pub listeners: Vec<(Arc<str>, SocketAddr)>,
    pub admin: Option<SocketAddr>,
    control: Arc<Control>,
    workers: Vec<WorkerHandle>,
    log: Option<access_log::Writer>,
    /// Keys are refreshed and the admin listener answers here.
    runtime: Runtime,
    drain: std::time::Duration,
}

/// Starts everything. Every listener accepts when this returns. Must be called outside of any runtime.
pub fn start(loaded: Loaded, workers: Option<usize>) -> Result<Running, StartError> {
    let Loaded { config, last_good, .. } = loaded;
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("control").enable_all().build()?;
    let names = Arc::new(Names::default());
    let clock = Clock::system();
    let around = Surroundings { control: runtime.handle().clone(), clock: clock.clone(), names: names.clone() };
    let count = workers.or(config.workers).unwrap_or_else(cores).max(1);
    let (drain, log_to, admin_address) = (config.drain, config.access_log.clone(), config.admin);
    let snapshot = compile(config, None, &around).map_err(StartError)?;
    let config = snapshot.config.clone();

    let opened = config.listeners.iter().map(|listener| ListenerLive::open(listener, count));
    let opened = opened.collect::<io::Result<Vec<_>>>()?;
    let admin = admin_address.map(|address| runtime.block_on(bind_admin(address))).transpose()?;

    let live = Arc::new(Live::new(snapshot, runtime.handle().clone()));
    let log = access_log::start(&log_to, names.clone())
        .map_err(|error| StartError(format!("the access log cannot be written: {error}")))?;
    let sender = log.as_ref().map(|writer| writer.sender.clone());
    let workers = (0..count).map(|index| thread::start(index, live.clone(), sender.clone(), clock.clone()));
    let workers = workers.collect::<io::Result<Vec<_>>>()?;
    let mut listeners = Vec::new();
    for (listener, sockets) in opened {
        for (worker, socket) in workers.iter().zip(sockets) {
            let _ = worker.orders.send(Order::Listen(listener.clone(), socket));
        }
        listeners.push(listener);
    }

    let (reloads, wishes) = Reloads::new();
    let control = Arc::new(Control {
        live,
        names,
        clock,
        listeners: ArcSwap::from_pointee(listeners),
        reloads,
        workers: workers.iter().map(|worker| worker.orders.clone()).collect(),
        caches: workers.iter().map(|worker| worker.cache.clone()).collect(),
        draining: false.into(),
    });
    let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
    if let Some(socket) = admin {
        runtime.spawn(admin::server::serve(socket, control.clone()));
    }
    let (file, last_good) = (config.file.clone(), last_good.into());
    let reloader = Reloader { file, control: control.clone(), around, last_good };
    runtime.spawn(reload::serve(Arc::new(reloader), wishes));
    runtime.spawn(watch::serve(control.clone(), watch::prints(&config)));
    let listeners = control.listeners.load().iter().map(|l| (l.name.clone(), l.address)).collect();
    Ok(Running { listeners, admin: admin_address, control, workers, log, runtime, drain })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

async fn bind_admin(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError(format!("admin: {address}: {error}")))
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

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Accepts no more, finishes what is under way within `drain`, and ends. Gives the number of connections that were cut.
    pub fn drain(self) -> usize {
        self.control.draining.store(true, Ordering::Relaxed);
        for worker in &self.workers {
            let _ = worker.orders.send(Order::Drain(self.drain));
        }
        let cut = self.workers.into_iter().map(|worker| worker.thread.join().unwrap_or(0)).sum();
        if let Some(log) = self.log {
            drop(log.sender);
            let _ = log.thread.join();
        }
        self.runtime.shutdown_background();
        cut
    }
}
