use super::*;

fn bound() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn passed(line: &Line, theirs: OwnedFd) -> Inherited {
    line.pass_legacy(Legacy { has_keys: true, upgrades: [3, 2, 1] }).unwrap();
    receive(theirs.as_fd()).unwrap()
}

#[test]
fn sockets_arrive_at_the_listener_they_were_of() {
    let (line, theirs) = Line::new().unwrap();
    let (public, admin) = (vec![bound(), bound()], vec![bound()]);
    line.pass(&Purpose::Listener("public".into(), any()), &public).unwrap();
    line.pass(&Purpose::Admin(any()), &admin).unwrap();
    let mut inherited = passed(&line, theirs);
    assert_eq!(inherited.legacy, Legacy { has_keys: true, upgrades: [3, 2, 1] });
    assert!(inherited.take("other", any()).is_empty());
    let taken = inherited.take("public", any());
    let addresses = |sockets: &[TcpListener]| sockets.iter().map(|s| s.local_addr().unwrap()).collect::<Vec<_>>();
    assert_eq!(addresses(&taken), addresses(&public));
    assert_eq!(inherited.take_admin(any()).unwrap().local_addr().unwrap(), admin[0].local_addr().unwrap());
    assert!(inherited.close().is_ok());
}

/// More than one packet holds.
#[test]
fn every_worker_of_a_large_machine_is_passed_its_socket() {
    let (line, theirs) = Line::new().unwrap();
    let socket = bound();
    let sockets: Vec<_> = (0..300).map(|_| socket.try_clone().unwrap()).collect();
    let sent = std::thread::spawn(move || {
        line.pass(&Purpose::Listener("public".into(), any()), &sockets).unwrap();
        line.pass_legacy(Legacy::default()).unwrap();
    });
    assert_eq!(receive(theirs.as_fd()).unwrap().take("public", any()).len(), 300);
    sent.join().unwrap();
}

/// The configuration that the successor reads may be another.
#[test]
fn a_renamed_listener_keeps_its_socket_and_one_that_is_gone_is_closed() {
    let (line, theirs) = Line::new().unwrap();
    let (kept, gone) = (bound(), bound());
    let address = kept.local_addr().unwrap();
    line.pass(&Purpose::Listener("public".into(), address), &[kept]).unwrap();
    line.pass(&Purpose::Listener("old".into(), gone.local_addr().unwrap()), &[gone]).unwrap();
    let mut inherited = passed(&line, theirs);
    assert_eq!(inherited.take("citizens", address).len(), 1);
    assert!(inherited.close().is_ok());
}

#[test]
fn a_socket_of_systemd_that_fits_no_listener_is_a_fault() {
    let (one, two) = (bound(), bound());
    let addresses = [one.local_addr().unwrap(), two.local_addr().unwrap()];
    let named = |name: &str, socket: TcpListener| {
        let address = socket.local_addr().unwrap();
        Passed { purpose: Purpose::Named(name.into()), address, socket }
    };
    let passed = vec![named("public", one), named("darvazeh.socket", two)];
    let mut inherited = Inherited { passed, strict: true, legacy: Legacy::default() };
    assert_eq!(inherited.take("public", any()).len(), 1, "by its name");
    let fault = inherited.close().unwrap_err();
    assert!(fault.contains(&addresses[1].to_string()) && fault.contains("darvazeh.socket"), "{fault}");
}

#[test]
fn a_successor_that_ends_or_dawdles_is_told_apart() {
    let (line, theirs) = Line::new().unwrap();
    assert_eq!(line.wait(Duration::from_millis(20)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(theirs);
    assert_ne!(line.wait(Duration::from_secs(10)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn the_word_is_heard_and_the_end_of_the_line_too() {
    let (line, theirs) = Line::new().unwrap();
    let told = std::thread::spawn(move || Predecessor(theirs).tell_ready());
    line.wait(Duration::from_secs(10)).unwrap();
    assert!(!told.is_finished());
    drop(line);
    told.join().unwrap().unwrap();
}
