//! `darvazeh demo`: a whole small country on loopback, with nothing to prepare. Development certificates, an SSO that really
//! signs, agencies that echo what reached them, and the gateway in front, running the very `routes.yaml` of this repository.
//!
//! Prints a page to open in a browser and curl commands to paste; with `--check` it sends the same requests itself and says whether each was answered as
//! promised. Only loopback is bound. The gateway is started by `app` as `darvazeh run` would: nothing of it is special here.

mod agency;
mod check;
mod config;
mod portal;
mod serve;
mod sign_in;
mod sso;
mod tries;
mod websocket;

use std::fs::{self, DirBuilder};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use self::tries::Ground;
use super::certs::{self, DevCerts};
use crate::app;
use crate::clock::Clock;
use crate::config::model::{ClientAuth, ServerTls};
use crate::tls::certs::{load_roots, load_server};
use crate::tls::server::server_config;

/// `darvazeh demo`, as the command line takes it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Keep the demo's files in this directory, instead of a temporary one that goes away
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Port of the gateway; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Port of the admin listener; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub admin_port: u16,
    /// Port of the demo SSO; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub sso_port: u16,
    /// Port of the portals for a browser; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub portal_port: u16,
    /// Send the printed requests, compare the answers with what is promised, and exit with 0 or 1
    #[arg(long)]
    pub check: bool,
}

/// The command. Exit code 1 when something could not start or, with `--check`, was not answered as promised.
pub fn run(options: &Options) -> ExitCode {
    match play(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("darvazeh demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `Ok(false)`: a check failed.
fn play(options: &Options) -> Result<bool, String> {
    let home = Home::open(options.dir.as_deref())?;
    let hosts = config::HOSTS.map(str::to_owned);
    let certs = certs::dev(&home.path.join("certs"), &hosts)?;
    let runtime = Runtime::new().map_err(|e| format!("cannot start: {e}"))?;

    let ports = runtime.block_on(open_country(options, &certs))?;
    let file = home.path.join("routes.yaml");
    fs::write(&file, config::text(&ports)).map_err(|e| format!("{}: {e}", file.display()))?;
    let gateway = start_gateway(&file)?;

    let (public, portals, admin) = (gateway.public, gateway.portals, gateway.admin);
    let ground = Ground { public, admin, portals, sso: ports.sso, ca: certs.ca };
    let outcome = runtime.block_on(async {
        check::until_ready(&ground).await?;
        if options.check {
            return check::check(&ground).await;
        }
        print!("{}", tries::instructions(&ground, &home.path));
        interrupted().await.map(|()| true)
    });
    (gateway.stop)();
    runtime.shutdown_background();
    outcome
}

/// The gateway as the demo needs it.
struct Gateway {
    public: SocketAddr,
    portals: SocketAddr,
    admin: SocketAddr,
    stop: Box<dyn FnOnce()>,
}

/// Starts what `darvazeh run --config FILE` would, in this process.
fn start_gateway(file: &Path) -> Result<Gateway, String> {
    let loaded = crate::live::load_checked(file, Clock::system().now()).map_err(|faults| {
        let mut text = Vec::new();
        super::check::print(&faults, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    })?;
    let running = app::start(loaded, None).map_err(|error| error.to_string())?;
    let at = |name: &str| {
        let found = running.listeners.iter().find(|(listener, _)| **listener == *name);
        found.map(|(_, address)| *address).ok_or(format!("routes.yaml has no listener `{name}`"))
    };
    let (public, portals) = (at("public")?, at("portals")?);
    let admin = running.admin.ok_or("routes.yaml has no admin listener")?;
    let stop = Box::new(move || {
        running.drain();
    });
    Ok(Gateway { public, portals, admin, stop })
}

/// Binds and serves the SSO and the agencies. They live as long as the runtime.
async fn open_country(options: &Options, certs: &DevCerts) -> Result<config::Ports, String> {
    let sso = bind(options.sso_port).await?;
    let (first, second, registry) = (bind(0).await?, bind(0).await?, bind(0).await?);
    let (people, health, land) = (bind(0).await?, bind(0).await?, bind(0).await?);
    let ports = config::Ports {
        gateway: options.port,
        admin: options.admin_port,
        sso: port(&sso)?,
        agencies: [port(&first)?, port(&second)?, port(&registry)?],
        portals: options.portal_port,
        sign_in: port(&people)?,
        desks: [port(&health)?, port(&land)?],
    };
    let desk = Arc::new(sign_in::Desk::new(sso::Sso::new(ports.sso)?));
    let (for_people, open) = (Arc::clone(&desk), acceptor(certs, ClientAuth::None)?);
    tokio::spawn(serve::serve(sso, Some(open), move |request| {
        let desk = Arc::clone(&desk);
        async move { desk.for_gateway(request).await }
    }));
    tokio::spawn(serve::serve(people, None, move |request| {
        let desk = Arc::clone(&for_people);
        async move { desk.for_people(request).await }
    }));
    for (listener, portal) in [health, land].into_iter().zip(&portal::PORTALS) {
        tokio::spawn(serve::serve(listener, None, move |request| async move { portal::answer_for(portal, &request) }));
    }
    let trusted = load_roots(&certs.ca).map_err(|fault| format!("{}: {fault:?}", certs.ca.display()))?;
    let mutual = acceptor(certs, ClientAuth::Required(trusted))?;
    tokio::spawn(serve::serve(first, None, |request| agency::answer_for("social-security, machine 1", request)));
    tokio::spawn(serve::serve(second, None, |request| agency::answer_for("social-security, machine 2", request)));
    tokio::spawn(serve::serve(registry, Some(mutual), |request| agency::answer_for("land-registry", request)));
    Ok(ports)
}

async fn bind(port: u16) -> Result<TcpListener, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))
}

fn port(listener: &TcpListener) -> Result<u16, String> {
    listener.local_addr().map(|address| address.port()).map_err(|e| e.to_string())
}

/// TLS for the SSO and the agency: HTTP/1.1 is all they speak.
fn acceptor(certs: &DevCerts, client_auth: ClientAuth) -> Result<TlsAcceptor, String> {
    let now = Clock::system().now();
    let loaded = load_server(&certs.gateway, &certs.gateway_key, now)
        .map_err(|fault| format!("{}: {fault:?}", certs.gateway.display()))?;
    let tls = ServerTls { certificates: vec![Arc::new(loaded)], tls13_only: false, client_auth };
    let mut config = server_config(&tls).map_err(|e| e.to_string())?;
    Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(config))
}

/// Ctrl-C, or SIGTERM from whoever runs the demo for a test.
async fn interrupted() -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|e| format!("cannot listen for signals: {e}"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The directory everything is written to. A temporary one is removed at the end.
struct Home {
    path: PathBuf,
    temporary: bool,
}

impl Home {
    fn open(wanted: Option<&Path>) -> Result<Home, String> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        let (path, temporary) = match wanted {
            Some(dir) => (std::path::absolute(dir).map_err(|e| e.to_string())?, false),
            None => (std::env::temp_dir().join(format!("darvazeh-demo-{}", random_name()?)), true),
        };
        // A temporary one must be new: whoever made it before us could read what we put there.
        builder.recursive(!temporary).create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Home { path, temporary })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.temporary {
            // Nothing is lost when it stays behind; the system clears its temporary directory.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn random_name() -> Result<String, String> {
    let mut bits = [0; 8];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| "the system gives no random bytes".to_owned())?;
    Ok(format!("{:016x}", u64::from_be_bytes(bits)))
}

#[cfg(test)]
mod tests;
