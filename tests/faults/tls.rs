//! What an agency can do wrong before its TLS handshake is over: nothing of a request has left, whatever it was.

use crate::script::Step::*;
use crate::{Case, Limit, case};

const NO_CONNECTION: &str = "502 connect_failed";

pub const CASES: &[Case] = &[
    case("refuses", &[Refuse], NO_CONNECTION, 0),
    case("backlog-full", &[Full], "504 connect_failed", 0).reaching(Limit::Connect),
    case("stalls", &[Stall], "504 connect_failed", 0).reaching(Limit::Connect),
    case("resets", &[Reset], NO_CONNECTION, 0),
    case("closes", &[Close], NO_CONNECTION, 0),
    case("resets-after-hello", &[Part(100), Reset], NO_CONNECTION, 0),
    case("half-closes", &[Finish, Stall], NO_CONNECTION, 0),
    case("answers-in-the-clear", &[Say("HTTP/1.1 400 Bad Request\r\n\r\n"), Stall], NO_CONNECTION, 0),
    // handshake_failure (RFC 8446 section 6.2).
    case("alerts", &[Part(100), Say("\x15\x03\x03\0\x02\x02\x28"), Stall], NO_CONNECTION, 0),
    case("floods", &[Flood("\x16\x03\x03\0\x04\x02\0\0\0")], NO_CONNECTION, 0),
];
