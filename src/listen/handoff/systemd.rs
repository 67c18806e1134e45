//! Socket activation: what systemd passes with `LISTEN_FDS`, when it is us that `LISTEN_PID` names.

use std::env;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::{Inherited, Passed, Purpose};

/// Errors: a descriptor that is no listening TCP socket.
pub fn take() -> Result<Inherited, String> {
    let ours = env::var("LISTEN_PID").is_ok_and(|id| id.parse() == Ok(std::process::id()));
    if !ours {
        return Ok(Inherited::default());
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut descriptors = ListenFd::from_env();
    let mut passed = Vec::new();
    for index in 0..descriptors.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let refused = |why: &str| format!("socket {} of systemd ({name}): {why}", index + 1);
        let socket = descriptors.take_tcp_listener(index).map_err(|error| refused(&error.to_string()))?;
        let socket = socket.ok_or_else(|| refused("it was taken twice"))?;
        if !socket_acceptconn(&socket).unwrap_or(false) {
            return Err(refused("it does not listen: write ListenStream=, and Accept=no"));
        }
        let address = socket.local_addr().map_err(|error| refused(&error.to_string()))?;
        passed.push(Passed { purpose: Purpose::Named(name), address, socket });
    }
    Ok(Inherited { passed, strict: true, ..Inherited::default() })
}
