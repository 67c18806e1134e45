//! `darvazeh upgrade`: asks a running gateway to hand its sockets to the program that is installed now.

use std::process::ExitCode;
use std::time::Duration;

use http::header::HOST;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Builder;

/// The gateway has a limit of its own, and answers when it is reached; this one is for a gateway that hangs.
const PATIENCE: Duration = Duration::from_secs(300);
const LARGEST: usize = 64 * 1024;
const PORT: u16 = 80;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The gateway's admin listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901", conflicts_with = "pid")]
    admin: Uri,
    /// The gateway's process instead: it is sent SIGUSR2, and the outcome is in its log alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(2..))]
    pid: Option<i32>,
}

/// Exit code 0 when the new program serves (with `--pid`: is asked for), 1 when the old one still does.
pub fn run(options: &Options) -> ExitCode {
    let outcome = match options.pid {
        Some(pid) => signal(pid),
        None => ask(&options.admin),
    };
    match outcome {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

fn signal(pid: i32) -> Result<String, String> {
    let process = Pid::from_raw(pid).ok_or("there is no such process")?;
    kill_process(process, Signal::USR2).map_err(|error| format!("process {pid}: {error}"))?;
    Ok(format!("process {pid} was asked to upgrade: its log has the outcome"))
}

fn ask(admin: &Uri) -> Result<String, String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let asked = async { tokio::time::timeout(PATIENCE, exchange(admin)).await };
    let told = runtime.block_on(asked).unwrap_or_else(|_| Err("no answer in time".to_owned()));
    let outcome = told.map_err(|why| format!("{admin}: {why}"))?;
    match (outcome["pid"].as_u64(), outcome["why"].as_str()) {
        (Some(pid), _) => Ok(format!("process {pid} has taken over")),
        (None, Some(why)) => Err(format!("{why}; the old program goes on serving")),
        (None, None) => Err(format!("{admin}: that is not the answer of an admin listener")),
    }
}

/// `POST /upgrade`. Errors: in words for the operator.
async fn exchange(admin: &Uri) -> Result<Value, String> {
    let (Some("http"), Some(authority)) = (admin.scheme_str(), admin.authority()) else {
        return Err("write the admin listener's address as http://ADDRESS:PORT".to_owned());
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let address = (host, authority.port_u16().unwrap_or(PORT));
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let broken = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the exchange, which tells of anything that goes wrong.
    tokio::spawn(connection);
    let request = Request::post("/upgrade").header(HOST, authority.as_str()).body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(|error| error.to_string())?).await.map_err(broken)?;
    let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|error| error.to_string())?.to_bytes();
    serde_json::from_slice(&body).map_err(|_| String::from_utf8_lossy(&body).trim().to_owned())
}
