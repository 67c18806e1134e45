use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::{A, CNAME};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

/// What a server answers to every question for an IPv4 address; `None`: SERVFAIL.
type Zone = Option<(Vec<Ipv4Addr>, u32)>;

/// A name server on loopback.
pub struct Server {
    pub lookup: Lookup,
    zone: Arc<Mutex<Zone>>,
    asked: watch::Receiver<u32>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(addresses: &[[u8; 4]], ttl: u32) -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
        let zone = Arc::new(Mutex::new(None));
        let (count, asked) = watch::channel(0);
        let task = tokio::spawn(serve(socket, zone.clone(), count));
        let lookup = Lookup::Servers(ResolverConfig::from_parts(None, vec![], vec![server]));
        let server = Server { lookup, zone, asked, task };
        server.says(addresses, ttl);
        server
    }

    pub fn says(&self, addresses: &[[u8; 4]], ttl: u32) {
        *self.zone.lock().unwrap() = Some((addresses.iter().map(|a| Ipv4Addr::from(*a)).collect(), ttl));
    }

    pub fn fails(&self) {
        *self.zone.lock().unwrap() = None;
    }

    /// Questions for an IPv4 address so far.
    pub fn asked(&self) -> u32 {
        *self.asked.borrow()
    }

    pub async fn asked_again(&self, times: u32) {
        let wanted = self.asked() + times;
        let mut asked = self.asked.clone();
        asked.wait_for(|asked| *asked >= wanted).await.unwrap();
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>, count: watch::Sender<u32>) {
    let mut buffer = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        let query = question.queries[0].clone();
        let is_ipv4 = query.query_type() == RecordType::A;
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.add_query(query.clone());
        match &*zone.lock().unwrap() {
            Some((addresses, ttl)) if is_ipv4 => {
                // By an alias that may be kept for longer.
                let alias = Name::from_str("host.agency.example.").unwrap();
                let to = RData::CNAME(CNAME(alias.clone()));
                answer.add_answer(Record::from_rdata(query.name().clone(), ttl + 100, to));
                for address in addresses {
                    answer.add_answer(Record::from_rdata(alias.clone(), *ttl, RData::A(A(*address))));
                }
            }
            Some(_) => {}
            None => answer.metadata.response_code = ResponseCode::ServFail,
        }
        let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
        count.send_modify(|count| *count += u32::from(is_ipv4));
    }
}

#[tokio::test]
async fn the_shortest_ttl_counts_within_bounds() {
    let server = Server::start(&[[10, 0, 0, 1], [10, 0, 0, 2]], 7).await;
    let found = server.lookup.ask("agency.example", 443).await.unwrap();
    assert_eq!(found.addresses, ["10.0.0.1:443".parse().unwrap(), "10.0.0.2:443".parse().unwrap()]);
    assert_eq!(found.keep, Duration::from_secs(7));
    for (ttl, keep) in [(0, SHORTEST), (86_400, LONGEST)] {
        server.says(&[[10, 0, 0, 1]], ttl);
        assert_eq!(server.lookup.ask("agency.example", 443).await.unwrap().keep, keep);
    }
}

#[tokio::test]
async fn no_address_is_no_answer() {
    let server = Server::start(&[], 7).await;
    assert_eq!(server.lookup.ask("agency.example", 443).await, None);
    server.fails();
    assert_eq!(server.lookup.ask("agency.example", 443).await, None);
}

#[tokio::test]
async fn the_system_knows_itself() {
    let found = Lookup::System.ask("localhost", 80).await.unwrap();
    assert!(found.addresses.iter().all(|address| address.ip().is_loopback()), "{found:?}");
}
