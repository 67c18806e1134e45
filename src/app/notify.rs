//! What systemd is told (sd_notify(3)): ready, reloading, stopping, who serves, and that the workers are alive.
//!
//! Without `NOTIFY_SOCKET` all of it is nothing. Called by the start, reloads, upgrades and the end.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::Control;

const SOCKET: &str = "NOTIFY_SOCKET";
/// What systemd sets for the main process alone, and what a successor must not take for its own.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";

#[derive(Clone, Default)]
pub struct Notify(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Notify {
    /// As the environment says.
    pub fn from_environment() -> Notify {
        let Some(name) = std::env::var_os(SOCKET) else { return Notify::default() };
        match Notify::to(&name) {
            Ok(notify) => notify,
            Err(error) => {
                eprintln!("warning: {SOCKET} cannot be used: {error}");
                Notify::default()
            }
        }
    }

    /// A path, or `@` and the name of an abstract socket.
    fn to(name: &OsStr) -> io::Result<Notify> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Notify(Some(Arc::new((socket, address)))))
    }

    /// Listeners accept; or a reload has ended.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=serving");
    }

    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}{:06}", now.tv_sec, now.tv_nsec / 1000));
    }

    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=draining");
    }

    /// Another process serves from now on.
    pub fn main_process(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}"));
    }

    fn send(&self, state: &str) {
        let Some(to) = &self.0 else { return };
        // What cannot be delivered is systemd's own trouble; it has its time limits.
        let _ = to.0.send_to_addr(state.as_bytes(), &to.1);
    }

    /// Tells that we are alive, at twice the rate that systemd asks for, as long as every worker answers. One that hangs
    /// for the whole time is seen by systemd, which starts us anew.
    pub async fn watchdog(self, control: Arc<Control>) {
        let Some(limit) = watchdog_limit(&|name| std::env::var_os(name)) else { return };
        let mut tick = interval(limit / 2);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if control.answers(limit / 4).await {
                self.send("WATCHDOG=1");
            }
        }
    }
}

/// sd_watchdog_enabled(3)
fn watchdog_limit(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<Duration> {
    let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
    let ours = variable(WATCHDOG_PID).is_none() || number(WATCHDOG_PID) == Some(std::process::id().into());
    number("WATCHDOG_USEC").filter(|limit| ours && *limit > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_both_heard() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        Notify::to(path.as_os_str()).unwrap().ready();
        assert!(told(&by_path).starts_with("READY=1"));
        let name = format!("darvazeh-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notify::to(OsStr::new(&format!("@{name}"))).unwrap().reloading();
        let text = told(&by_name);
        let micros: u64 = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(micros > 0);
    }

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let limit = |pid: Option<&str>, usec: &str| {
            watchdog_limit(&|name| match name {
                "WATCHDOG_USEC" => Some(usec.into()),
                _ => pid.map(OsString::from),
            })
        };
        assert_eq!(limit(None, "20000000"), Some(Duration::from_secs(20)));
        assert_eq!(limit(Some(&std::process::id().to_string()), "5000"), Some(Duration::from_millis(5)));
        assert_eq!(limit(Some("1"), "5000"), None);
        assert_eq!(limit(None, "0"), None);
        assert_eq!(limit(None, "soon"), None);
    }
}
