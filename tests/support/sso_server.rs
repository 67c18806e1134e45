//! The SSO over HTTPS: discovery and keys. It counts what it is asked, can change its keys, break, and go away.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::sso::{self, Key};
use super::wire::Wire;
use super::{certs, within};

struct State {
    jwks: String,
    /// Other than 200 while the SSO is unwell.
    status: u16,
    issuer: String,
    /// Every path that was asked for.
    paths: Vec<String>,
}

pub struct SsoServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    asked: watch::Receiver<(usize, usize)>,
    task: Option<JoinHandle<()>>,
}

impl SsoServer {
    pub async fn start() -> SsoServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let issuer = format!("https://localhost:{}", address.port());
        let state = Arc::new(Mutex::new(State { jwks: sso::jwks_text(), status: 200, issuer, paths: Vec::new() }));
        let (count, asked) = watch::channel((0, 0));
        let task = Some(tokio::spawn(serve(listener, state.clone(), Arc::new(count))));
        SsoServer { address, state, asked, task }
    }

    /// A port where an SSO was and is not any more.
    pub async fn gone() -> SsoServer {
        let mut server = SsoServer::start().await;
        server.go_away().await;
        server
    }

    pub fn issuer(&self) -> String {
        self.state.lock().expect("no panic while locked").issuer.clone()
    }

    pub fn jwks_uri(&self) -> String {
        format!("{}/jwks", self.issuer())
    }

    pub fn publish(&self, keys: &[&Key]) {
        self.publish_text(&sso::jwks_of(keys));
    }

    pub fn publish_text(&self, jwks: &str) {
        self.state.lock().expect("no panic while locked").jwks = jwks.to_owned();
    }

    /// What discovery says of `issuer`; a wrong one must not be believed (DI-1).
    pub fn claim_to_be(&self, issuer: &str) {
        self.state.lock().expect("no panic while locked").issuer = issuer.to_owned();
    }

    pub fn answer_with(&self, status: u16) {
        self.state.lock().expect("no panic while locked").status = status;
    }

    /// The first two paths that were asked for.
    pub fn asked_for(&self) -> Vec<String> {
        self.state.lock().expect("no panic while locked").paths.iter().take(2).cloned().collect()
    }

    /// How often keys were fetched.
    pub fn fetches(&self) -> usize {
        self.asked.borrow().0
    }

    pub async fn fetched(&self, times: usize) {
        let mut asked = self.asked.clone();
        let _ = within("the keys to be fetched", asked.wait_for(|(jwks, _)| *jwks >= times)).await;
    }

    pub async fn discovered(&self, times: usize) {
        let mut asked = self.asked.clone();
        let _ = within("discovery to be read", asked.wait_for(|(_, discovery)| *discovery >= times)).await;
    }

    /// Connections are refused from now on.
    pub async fn go_away(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Back, at the same address.
    pub async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the same port again");
        let (count, asked) = watch::channel((0, 0));
        self.asked = asked;
        self.task = Some(tokio::spawn(serve(listener, self.state.clone(), Arc::new(count))));
    }
}

impl Drop for SsoServer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>, count: Arc<watch::Sender<(usize, usize)>>) {
    let acceptor = TlsAcceptor::from(certs::server_config(certs::server(), &["http/1.1"], None));
    loop {
        let Ok((tcp, _)) = listener.accept().await else { return };
        let (acceptor, state, count) = (acceptor.clone(), state.clone(), count.clone());
        tokio::spawn(async move {
            let socket = socket2::SockRef::from(&tcp).try_clone().expect("the socket can be duplicated");
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let mut wire = Wire::over(tls, socket);
            let Some(request) = wire.request().await else { return };
            let discovery = request.head.target().ends_with("/.well-known/openid-configuration");
            let (status, body) = {
                let mut state = state.lock().expect("no panic while locked");
                state.paths.push(request.head.target().to_owned());
                let jwks_uri = format!("{}/jwks", state.issuer);
                let metadata = json!({"issuer": state.issuer, "jwks_uri": jwks_uri}).to_string();
                (state.status, if discovery { metadata } else { state.jwks.clone() })
            };
            let head = format!(
                "HTTP/1.1 {status} SSO\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = wire.send(head + &body).await;
            count.send_modify(|(jwks, discoveries)| *(if discovery { discoveries } else { jwks }) += 1);
            wire.close().await;
        });
    }
}
