//! How an exchange fails, whose fault it is, and what `Proxy-Status` says of it (RFC 9209 §2.3).

use crate::balance::Full;
use crate::body::BodyError;
use crate::http1::client;
use crate::words::Code;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Connect(ConnectFailure),
    /// The connection broke before an answer.
    Broke,
    /// No head of an answer in time.
    TimedOut,
    /// The answer cannot be passed on (SM-10).
    Malformed(&'static str),
    /// What the caller wants cannot be said in the agency's HTTP: nobody is to blame.
    Unsayable(&'static str),
    /// The caller's own body failed: the agency is not to blame.
    RequestBody(BodyError),
    /// The whole request took too long, by nobody's fault in particular.
    Late,
    /// The agency has as much under way as it may, and no place in its line came free.
    Full(Full),
    /// All endpoints were tried, or are out.
    NoEndpoint,
    /// Our own name stands in `Via` too often (HP-2).
    Loop,
    /// The agency asks for credentials by a scheme that must not reach a browser (HP-11).
    ForeignChallenge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    Dns,
    Refused,
    Unreachable,
    TimedOut,
    Certificate,
    Tls,
    /// The endpoint does not speak the protocol it was configured with.
    Protocol,
    /// The agency has as many connections as it may: none was tried.
    Full,
}

impl Failure {
    pub fn code(self) -> Code {
        match self {
            Failure::Connect(ConnectFailure::TimedOut) => Code::ConnectTimeout,
            Failure::Connect(ConnectFailure::Full) | Failure::Full(_) => Code::Overloaded,
            Failure::Connect(_) => Code::ConnectFailed,
            Failure::Broke | Failure::Malformed(_) | Failure::Unsayable(_) | Failure::ForeignChallenge => {
                Code::UpstreamBroke
            }
            Failure::TimedOut | Failure::Late => Code::UpstreamTimeout,
            Failure::NoEndpoint => Code::NoHealthyEndpoint,
            Failure::Loop => Code::LoopDetected,
            Failure::RequestBody(BodyError::TooLarge) => Code::BodyTooLarge,
            Failure::RequestBody(BodyError::ClientTimeout) => Code::RequestTimeout,
            Failure::RequestBody(_) => Code::RequestMalformed,
        }
    }

    /// False where the caller can bring it about at any endpoint: it tells nothing of the agency.
    pub fn is_the_agencys(self) -> bool {
        !matches!(
            self,
            Failure::RequestBody(_)
                | Failure::Unsayable(_)
                | Failure::Late
                | Failure::Full(_)
                | Failure::Connect(ConnectFailure::Full)
        )
    }

    /// The `error` parameter of `Proxy-Status`; `None` where no agency was involved.
    pub fn proxy_status(self) -> Option<&'static str> {
        Some(match self {
            Failure::Connect(connect) => match connect {
                ConnectFailure::Dns => "dns_error",
                ConnectFailure::Refused => "connection_refused",
                ConnectFailure::Unreachable => "destination_ip_unroutable",
                ConnectFailure::TimedOut => "connection_timeout",
                ConnectFailure::Certificate => "tls_certificate_error",
                ConnectFailure::Tls => "tls_protocol_error",
                ConnectFailure::Protocol => "http_protocol_error",
                ConnectFailure::Full => "connection_limit_reached",
            },
            Failure::Broke => "connection_terminated",
            Failure::TimedOut | Failure::Late => "http_response_timeout",
            Failure::Full(_) => "connection_limit_reached",
            Failure::Malformed(_) | Failure::ForeignChallenge => "http_protocol_error",
            Failure::Unsayable(_) => "http_upgrade_failed",
            Failure::NoEndpoint => "destination_unavailable",
            Failure::Loop => "proxy_loop_detected",
            Failure::RequestBody(_) => return None,
        })
    }

    /// What the developer is told; fixed text.
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Failure::Malformed(why) | Failure::Unsayable(why) => Some(why),
            Failure::ForeignChallenge => Some("the agency asked for credentials that this gateway does not pass on"),
            _ => None,
        }
    }
}

impl From<client::Failure> for Failure {
    fn from(failure: client::Failure) -> Failure {
        match failure {
            client::Failure::Broke { .. } => Failure::Broke,
            client::Failure::TimedOut => Failure::TimedOut,
            client::Failure::RequestBody(error) => Failure::RequestBody(error),
            client::Failure::Malformed(why) => Failure::Malformed(why),
            client::Failure::Unsayable(why) => Failure::Unsayable(why),
        }
    }
}
