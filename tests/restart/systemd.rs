//! Socket activation (sd_listen_fds(3)) and notifications (sd_notify(3)), with the test in the place of systemd.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::service::{Service, command, installed, quiet};
use crate::support::agency::Agency;
use crate::support::client::{connect_plain, get};
use crate::support::verdict::assert_passed;
use crate::support::within;
use crate::support::world::{self, Config};

/// One listener in the clear, at this address.
fn config(agency: &str, address: &str) -> Config {
    world::standard(agency).listeners(&[&format!("{{ name: public, address: '{address}' }}")])
}

fn bound() -> (TcpListener, String) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("it is bound").to_string();
    (socket, address)
}

/// Starts the gateway with these sockets as its descriptors 3 and 4; the shell's `$$` stays the process's id.
fn activated(dir: &TempDir, sockets: &[&TcpListener], names: &str) -> Command {
    let copy = |socket: &TcpListener| Stdio::from(OwnedFd::from(socket.try_clone().expect("descriptors are left")));
    let script = r#"exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(dir.path().join("darvazeh"));
    command.args(["run", "--config"]).arg(dir.path().join("routes.yaml"));
    quiet(&mut command, dir);
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    command.stdin(copy(sockets[0]));
    if let Some(second) = sockets.get(1) {
        command.stdout(copy(second));
    }
    command
}

/// A connection waits for the gateway that is not there yet, and for the next one when it is gone.
#[tokio::test]
async fn connections_wait_in_systemds_socket_while_no_gateway_runs() {
    let agency = Agency::hello().await;
    let (socket, address) = bound();
    let yaml = config(&agency.url(), &address).top("workers: 3").yaml();
    for _ in 0..2 {
        let mut early = connect_plain(address.parse().expect("an address")).await;
        early.send(get("/open", &[])).await.expect("it is only queued");
        let dir = installed(&yaml);
        let command = activated(&dir, &[&socket], "darvazeh.socket");
        let service = Service::start_by(dir, command).await;
        assert_eq!(service.address.to_string(), address);
        assert_passed(&early.answer().await);
        service.signal("TERM");
        service.drained(1).await;
    }
    TcpStream::connect(&address).await.expect("nobody closed it");
}

#[tokio::test]
async fn sockets_find_their_listeners_by_name_too_and_survive_upgrades() {
    let agency = Agency::hello().await;
    let ((public, at), (admin, admin_at)) = (bound(), bound());
    let dir = installed(&config(&agency.url(), "127.0.0.1:0").yaml());
    let command = activated(&dir, &[&public, &admin], "public:admin");
    let service = Service::start_by(dir, command).await;
    assert_eq!((service.address.to_string(), service.admin.to_string()), (at, admin_at));
    for _ in 0..2 {
        service.upgrade().await;
        assert_eq!(service.admin("GET", "/readyz").await.status(), 200);
        let mut wire = connect_plain(service.address).await;
        wire.send(get("/open", &[])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
}

#[tokio::test]
async fn a_socket_that_fits_no_listener_is_a_fault_of_the_start() {
    let agency = Agency::hello().await;
    let ((public, at), (other, other_at)) = (bound(), bound());
    let dir = installed(&config(&agency.url(), &at).yaml());
    let output = activated(&dir, &[&public, &other], "public:darvazeh.socket").output().expect("it can be run");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&other_at) && text.contains("no listener wants") && !text.contains(&at), "{text}");
}

/// The variables may have been inherited from a service that started us.
#[tokio::test]
async fn sockets_that_were_meant_for_another_process_are_left_alone() {
    let agency = Agency::hello().await;
    let dir = installed(&config(&agency.url(), "127.0.0.1:0").yaml());
    let mut command = command(&dir);
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1").env("LISTEN_FDNAMES", "public");
    let service = Service::start_by(dir, command).await;
    let mut wire = connect_plain(service.address).await;
    wire.send(get("/open", &[])).await.expect("open");
    assert_passed(&wire.answer().await);
}

/// What systemd is told, in its order; the watchdog's word, which comes between, apart.
struct Told {
    socket: tokio::net::UnixDatagram,
}

impl Told {
    fn in_dir(dir: &TempDir) -> Told {
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a fresh path");
        socket.set_nonblocking(true).expect("a fresh socket");
        Told { socket: tokio::net::UnixDatagram::from_std(socket).expect("a good socket") }
    }

    /// Waits for the next word, which begins as `wanted`.
    async fn next(&self, wanted: &str) -> String {
        let told = async {
            loop {
                let mut buffer = [0; 512];
                let length = self.socket.recv(&mut buffer).await.expect("our own socket");
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if (wanted == "WATCHDOG=1") == (text == "WATCHDOG=1") {
                    return text;
                }
            }
        };
        let text = within(wanted, told).await;
        assert!(text.starts_with(wanted), "{text}");
        text
    }
}

#[tokio::test]
async fn systemd_hears_of_the_start_of_reloads_of_upgrades_and_of_the_end() {
    let agency = Agency::hello().await;
    let dir = installed(&config(&agency.url(), "127.0.0.1:0").top("drain: 1s").yaml());
    let (told, mut command) = (Told::in_dir(&dir), command(&dir));
    command.env("NOTIFY_SOCKET", dir.path().join("notify")).env("WATCHDOG_USEC", "400000");
    let service = Service::start_by(dir, command).await;
    told.next("READY=1").await;
    service.signal("HUP");
    let reloading = told.next("RELOADING=1\nMONOTONIC_USEC=").await;
    let at: u64 = reloading.rsplit('=').next().expect("a number").parse().expect("a number");
    assert!(at > 0);
    told.next("READY=1").await;
    let pid = service.upgrade().await;
    told.next(&format!("MAINPID={pid}")).await;
    told.next("READY=1").await;
    service.drained(1).await;
    service.signal("TERM");
    told.next("STOPPING=1").await;
    service.drained(2).await;
}

#[tokio::test]
async fn the_watchdog_is_fed_at_twice_the_rate_that_systemd_asks_for() {
    let agency = Agency::hello().await;
    let dir = installed(&config(&agency.url(), "127.0.0.1:0").yaml());
    let (told, mut command) = (Told::in_dir(&dir), command(&dir));
    command.env("NOTIFY_SOCKET", dir.path().join("notify")).env("WATCHDOG_USEC", "400000");
    let service = Service::start_by(dir, command).await;
    for _ in 0..3 {
        told.next("WATCHDOG=1").await;
    }
    service.upgrade().await;
    service.drained(1).await;
    for _ in 0..3 {
        told.next("WATCHDOG=1").await;
    }
}
