//! Listening sockets that this process did not bind: from the process whose place it takes, or from systemd.
//!
//! A predecessor sends its sockets over a Unix socket (`SCM_RIGHTS`, unix(7)) that the successor finds as its standard
//! input; each packet is one JSON object with the sockets that it is about. The successor answers `ready` once it accepts.
//! Both processes then hold the same sockets, with one backlog: closing them in one of them loses nothing.
//! systemd passes sockets as descriptors 3 and up (sd_listen_fds(3)), named by `LISTEN_FDNAMES`.
//!
//! Called by `app` when it starts and when it hands on; knows nothing of processes, nor of what is done with a socket.

mod systemd;

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

/// Set for a successor: the id of the process whose sockets it is to take.
pub const PREDECESSOR: &str = "DARVAZEH_PREDECESSOR";

/// Sockets in one packet; the kernel takes 253 (`SCM_MAX_FD`).
const SOCKETS: usize = 128;
const PACKET: usize = 16 * 1024;
const READY: &[u8] = b"ready";
/// Between two processes that both run, a packet takes no time.
const PROMPT: Duration = Duration::from_secs(10);

/// What a passed socket is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A listener of this name, at this address as its configuration has it (where a port may be 0).
    Listener(String, SocketAddr),
    Admin(SocketAddr),
    /// What systemd calls it: the name of its unit, unless `FileDescriptorName=` gives another.
    Named(String),
}

/// What besides sockets is passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    /// The predecessor has the keys of all issuers: its successor must not serve before it has them too.
    pub has_keys: bool,
    /// Upgrades there were, by outcome, so that the count goes on.
    pub upgrades: [u64; 3],
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Packet {
    Sockets(Purpose),
    End(Legacy),
}

#[derive(Debug)]
struct Passed {
    purpose: Purpose,
    address: SocketAddr,
    socket: TcpListener,
}

/// Sockets that wait for their listeners.
#[derive(Debug, Default)]
pub struct Inherited {
    passed: Vec<Passed>,
    /// A socket that nobody takes is a mistake: systemd goes on listening on it.
    strict: bool,
    pub legacy: Legacy,
}

/// The process whose place we take, as long as it waits for us.
#[derive(Debug)]
pub struct Predecessor(OwnedFd);

impl Inherited {
    /// Takes what the environment of this process promises; nothing is usual. To be called once, first of all.
    /// Errors: in words for the operator.
    pub fn receive() -> Result<(Inherited, Option<Predecessor>), String> {
        let Some(id) = std::env::var_os(PREDECESSOR) else { return Ok((systemd::take()?, None)) };
        if id.to_str().and_then(|id| id.parse().ok()) != Some(parent_id()) {
            return Err(format!("{PREDECESSOR} names a process that did not start this one, or is gone"));
        }
        let broken = |error: io::Error| format!("the sockets of the process before cannot be received: {error}");
        let line = take_standard_input().map_err(broken)?;
        let inherited = receive(line.as_fd()).map_err(broken)?;
        Ok((inherited, Some(Predecessor(line))))
    }

    /// The sockets for a listener; none means that it is to bind its own.
    pub fn take(&mut self, name: &str, asked: SocketAddr) -> Vec<TcpListener> {
        self.extract(|passed| match &passed.purpose {
            Purpose::Listener(of, at) => of == name && *at == asked || passed.address == asked,
            Purpose::Named(of) => of == name || passed.address == asked,
            Purpose::Admin(_) => false,
        })
    }

    pub fn take_admin(&mut self, asked: SocketAddr) -> Option<TcpListener> {
        let mut sockets = self.extract(|passed| match &passed.purpose {
            Purpose::Admin(at) => *at == asked || passed.address == asked,
            Purpose::Named(of) => of == "admin" || passed.address == asked,
            Purpose::Listener(..) => false,
        });
        sockets.pop()
    }

    fn extract(&mut self, fits: impl Fn(&Passed) -> bool) -> Vec<TcpListener> {
        self.passed.extract_if(.., |passed| fits(passed)).map(|passed| passed.socket).collect()
    }

    /// Closes what nobody took: listeners that are gone. Errors: systemd passed it, and goes on listening on it.
    pub fn close(self) -> Result<(), String> {
        if !self.strict || self.passed.is_empty() {
            return Ok(());
        }
        let left = self.passed.iter().map(|passed| match &passed.purpose {
            Purpose::Named(name) => format!("{} ({name})", passed.address),
            _ => passed.address.to_string(),
        });
        let left: Vec<_> = left.collect();
        Err(format!(
            "systemd passed sockets that no listener wants: {}; give a listener of the configuration that address, or the \
             socket unit the listener's name in FileDescriptorName=",
            left.join(", ")
        ))
    }
}

impl Predecessor {
    /// Says that we accept, and returns when the predecessor has heard it. Errors: it is gone, or has given us up.
    pub fn tell_ready(self) -> io::Result<()> {
        retry_on_intr(|| rustix::net::send(&self.0, READY, SendFlags::NOSIGNAL))?;
        set_socket_timeout(&self.0, Timeout::Recv, Some(PROMPT))?;
        // It closes its end. One that is slow to do so holds nothing up.
        let _ = rustix::net::recv(&self.0, &mut [0u8; 8][..], RecvFlags::empty());
        Ok(())
    }
}

/// Our standard input, which is `/dev/null` from now on.
fn take_standard_input() -> io::Result<OwnedFd> {
    let line = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    set_socket_timeout(&line, Timeout::Recv, Some(PROMPT))?;
    Ok(line)
}

fn receive(line: BorrowedFd<'_>) -> io::Result<Inherited> {
    let mut inherited = Inherited::default();
    loop {
        let (packet, sockets) = receive_packet(line)?;
        match packet {
            Packet::Sockets(purpose) => {
                for socket in sockets {
                    let socket = TcpListener::from(socket);
                    let (purpose, address) = (purpose.clone(), socket.local_addr()?);
                    inherited.passed.push(Passed { purpose, address, socket });
                }
            }
            Packet::End(legacy) => return Ok(Inherited { legacy, ..inherited }),
        }
    }
}

fn receive_packet(line: BorrowedFd<'_>) -> io::Result<(Packet, Vec<OwnedFd>)> {
    let mut bytes = vec![0; PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(line, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            sockets.extend(descriptors);
        }
    }
    let packet = serde_json::from_slice(&bytes[..received.bytes])?;
    Ok((packet, sockets))
}

/// The line to a successor that is about to be started.
#[derive(Debug)]
pub struct Line {
    ours: OwnedFd,
}

impl Line {
    /// Our end, and the one to be the successor's standard input. Errors: no descriptors left.
    pub fn new() -> io::Result<(Line, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&ours, Timeout::Send, Some(PROMPT))?;
        Ok((Line { ours }, theirs))
    }

    /// Errors: the other side is gone, or does not read.
    pub fn pass(&self, purpose: &Purpose, sockets: &[TcpListener]) -> io::Result<()> {
        for some in sockets.chunks(SOCKETS) {
            self.send(&Packet::Sockets(purpose.clone()), some)?;
        }
        Ok(())
    }

    /// After the last socket.
    pub fn pass_legacy(&self, legacy: Legacy) -> io::Result<()> {
        self.send(&Packet::End(legacy), &[])
    }

    fn send(&self, packet: &Packet, sockets: &[TcpListener]) -> io::Result<()> {
        let bytes = serde_json::to_vec(packet)?;
        let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&sockets));
        }
        retry_on_intr(|| sendmsg(&self.ours, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Waits until the successor accepts. Errors: `WouldBlock` when it does not within `limit`; else it is gone.
    pub fn wait(&self, limit: Duration) -> io::Result<()> {
        let until = Instant::now() + limit;
        let mut word = [0; 16];
        loop {
            // A limit of nothing would be none; and a call with a limit is not taken up again after a signal (signal(7)).
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            set_socket_timeout(&self.ours, Timeout::Recv, Some(left))?;
            match rustix::net::recv(&self.ours, &mut word[..], RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                Ok((length, _)) if &word[..length] != READY => return Err(io::ErrorKind::UnexpectedEof.into()),
                heard => return Ok(heard.map(drop)?),
            }
        }
    }
}

#[cfg(test)]
mod tests;
