//! Two hundred reloads leave the heap as large as forty did, whether routes come and go under the same names or always new ones.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use darvazeh::app::{self, Running};
use darvazeh::live;
use rcgen::{CertificateParams, KeyPair};

use crate::{HEAP, alone};

/// An agency that says `ok` to one request a connection, on a thread; it ends with the test.
fn agency() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    address
}

/// The status of one request on a connection of its own.
fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: api.example.ir\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].to_owned()
}

/// Each with an agency of its own, so that agencies come and go too. `turn` also decides which endpoints there are.
fn config(names: &[String], agencies: &[SocketAddr; 3], turn: usize) -> String {
    let tls = "tls: { certificates: [{ cert: cert.pem, key: key.pem }] }";
    let mut yaml = format!(
        "version: 1\naccess_log: {{ to: 'off' }}\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n  - {{ name: plain, address: 127.0.0.1:0 }}\n  \
         - {{ name: public, address: 127.0.0.1:0, {tls} }}\nagencies:\n"
    );
    let other = agencies[1 + turn % 2];
    for name in names {
        let title = "title: { fa: سازمان, en: Agency }, scope: national";
        let _ = writeln!(yaml, "  {name}: {{ {title}, endpoints: ['http://{}', 'http://{other}'] }}", agencies[0]);
    }
    yaml.push_str("routes:\n");
    for name in names {
        let _ = writeln!(
            yaml,
            "  - {{ name: {name}, agency: {name}, match: {{ prefix: /{name} }}, require: {{ level: 0 }} }}"
        );
    }
    yaml
}

fn renew(dir: &Path) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["api.example.ir".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

struct World {
    dir: tempfile::TempDir,
    agencies: [SocketAddr; 3],
    running: Running,
}

impl World {
    fn start(names: &[String]) -> World {
        let dir = tempfile::tempdir().unwrap();
        let agencies = [agency(), agency(), agency()];
        renew(dir.path());
        std::fs::write(dir.path().join("routes.yaml"), config(names, &agencies, 0)).unwrap();
        let loaded =
            live::load_checked(&dir.path().join("routes.yaml"), darvazeh::clock::Clock::system().now()).unwrap();
        World { dir, agencies, running: app::start(loaded, Some(2)).unwrap() }
    }

    /// One reload, and a request for every route of it.
    fn turn(&self, names: &[String], turn: usize) {
        if turn.is_multiple_of(10) {
            renew(self.dir.path());
        }
        std::fs::write(self.dir.path().join("routes.yaml"), config(names, &self.agencies, turn)).unwrap();
        assert_eq!(ask(self.running.admin.unwrap(), "POST", "/reload"), "200");
        for name in names {
            assert_eq!(ask(self.running.listeners[0].1, "GET", &format!("/{name}")), "200");
        }
    }

    /// Bytes that are live while nothing is asked: the least of a few looks, since pools are tidied every two seconds and no
    /// event tells.
    fn at_rest(&self) -> usize {
        let look = |_| {
            std::thread::sleep(Duration::from_millis(250));
            HEAP.allocated()
        };
        (0..14).map(look).min().unwrap()
    }
}

/// The heap after forty reloads, and after `all`.
fn heap(all: usize, names: impl Fn(usize) -> Vec<String>) -> (usize, usize) {
    let world = World::start(&names(0));
    let warm = all / 5;
    (1..=warm).for_each(|turn| world.turn(&names(turn), turn));
    let before = world.at_rest();
    (warm + 1..=all).for_each(|turn| world.turn(&names(turn), turn));
    let after = world.at_rest();
    world.running.drain();
    (before, after)
}

/// `DARVAZEH_FULL=1` makes the two hundred that the promise names.
#[test]
fn reloads_keep_no_memory() {
    let _alone = alone();
    let all = if std::env::var_os("DARVAZEH_FULL").is_some() { 200 } else { 50 };
    let few = |prefix: usize| (0..20).map(move |n| format!("r{prefix:04}-{n:02}")).collect::<Vec<_>>();
    for (kind, (before, after)) in
        [("the same names", heap(all, |turn| few(turn % 2))), ("always new names", heap(all, few))]
    {
        println!("{kind}: {before} bytes after {} reloads, {after} after {all}", all / 5);
        assert!(after <= before + before / 20, "{kind}: the heap grew from {before} to {after} bytes");
    }
}
