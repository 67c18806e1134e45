//! What an agency can do wrong over HTTP/1.1.

use crate::script::Step::{self, *};
use crate::{BROKE, CUT, Case, FORM, Limit, TIMEOUT, Times, case};

const HELLO: Step = Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
const BYE: Step = Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
const LONG: Step = Say("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n");
const CHUNKED: Step = Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
const OPEN_END: Step = Say("HTTP/1.1 200 OK\r\n\r\nhello");
const HALF_A_HEAD: Step = Say("HTTP/1.1 200 OK\r\nContent-Le");
const CONTINUE: Step = Say("HTTP/1.1 100 Continue\r\n\r\n");

const NO_CONNECTION: &str = "502 connect_failed";

pub const CASES: &[Case] = &[
    // It cannot be reached.
    case("refuses", &[Refuse], NO_CONNECTION, 0),
    case("backlog-full", &[Full], "504 connect_failed", 0).reaching(Limit::Connect),
    // It resets.
    // Before or after the gateway has sent something.
    case("resets-after-accept", &[Reset], "502 upstream_broke or 502 connect_failed", 0),
    case("resets-after-head", &[Head, Reset], BROKE, 1),
    case("resets-in-request-body", &[Head, Part(1000), Reset], BROKE, 1).only(FORM),
    case("resets-after-request", &[Head, Body, Reset], BROKE, 1),
    case("resets-after-100", &[Head, CONTINUE, Body, Reset], BROKE, 1),
    case("resets-in-head", &[Head, Body, HALF_A_HEAD, Reset], BROKE, 1),
    case("resets-after-answer-head", &[Head, Body, LONG, Reset], CUT, 1),
    case("resets-in-body", &[Head, Body, LONG, Say("hello"), Reset], CUT, 1),
    case("resets-before-last-chunk", &[Head, Body, CHUNKED, Reset], CUT, 1),
    case("resets-an-open-end", &[Head, Body, OPEN_END, Reset], CUT, 1),
    // It stalls.
    case("never-reads", &[Stall], TIMEOUT, 0).reaching(Limit::Response),
    case("stalls-after-head", &[Head, Stall], TIMEOUT, 1).reaching(Limit::Response),
    case("stalls-in-request-body", &[Head, Part(1000), Stall], TIMEOUT, 1).reaching(Limit::Response).only(FORM),
    case("stalls-after-request", &[Head, Body, Stall], TIMEOUT, 1).reaching(Limit::Response),
    case("stalls-after-100", &[Head, CONTINUE, Body, Stall], TIMEOUT, 1).reaching(Limit::Response),
    case("stalls-in-head", &[Head, Body, HALF_A_HEAD, Stall], TIMEOUT, 1).reaching(Limit::Response),
    case("stalls-after-answer-head", &[Head, Body, LONG, Stall], CUT, 1).reaching(Limit::Idle),
    case("stalls-in-body", &[Head, Body, LONG, Say("hello"), Stall], CUT, 1).reaching(Limit::Idle),
    case("stalls-before-last-chunk", &[Head, Body, CHUNKED, Stall], CUT, 1).reaching(Limit::Idle),
    // It closes: what has no end is cut, what has one by that is whole.
    case("closes-after-accept", &[Close], BROKE, 0),
    case("closes-after-head", &[Head, Close], BROKE, 1),
    case("closes-after-request", &[Head, Body, Close], BROKE, 1),
    case("closes-in-head", &[Head, Body, HALF_A_HEAD, Close], BROKE, 1),
    case("length-too-long", &[Head, Body, LONG, Say("hello"), Close], CUT, 1),
    case("chunk-cut", &[Head, Body, CHUNKED, Say("50\r\nhel"), Close], CUT, 1),
    case("no-last-chunk", &[Head, Body, CHUNKED, Close], CUT, 1),
    case("open-end", &[Head, Body, OPEN_END, Close], "200", 1),
    case("half-closes-unanswered", &[Head, Body, Finish, Stall], BROKE, 1),
    case("half-closes-answered", &[Head, Body, OPEN_END, Finish, Stall], "200", 1),
    // It says what is not HTTP, or too much of it.
    case("length-too-short", &[Head, Body, HELLO, Say("and more"), Stall], "200", 1),
    case("garbage", &[Head, Body, Say("\x16\x03\x01\0\0 no HTTP\r\n\r\n"), Stall], BROKE, 1),
    case("another-version", &[Head, Body, Say("HTTP/2.0 200 OK\r\n\r\n"), Stall], BROKE, 1),
    case(
        "two-lengths",
        &[Head, Body, Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")],
        BROKE,
        1,
    ),
    case("garbage-for-a-chunk", &[Head, Body, CHUNKED, Say("zz\r\nhello\r\n"), Stall], CUT, 1),
    case("floods-100", &[Head, Body, Flood("HTTP/1.1 100 Continue\r\n\r\n")], BROKE, 1),
    case("floods-103", &[Head, Body, Flood("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")], BROKE, 1),
    case("floods-fields", &[Head, Body, Say("HTTP/1.1 200 OK\r\n"), Flood("X-More: and more\r\n")], BROKE, 1),
    case("floods-a-field", &[Head, Body, Say("HTTP/1.1 200 OK\r\nX: "), Flood("xxxxxxxxxxxxxxxx")], BROKE, 1),
    case("floods-a-chunk-size", &[Head, Body, CHUNKED, Flood("0000000000000000")], CUT, 1),
    // It answers before it has read.
    case("early-and-reads-on", &[Head, HELLO, Body], "200", 1),
    case("early-and-closes", &[Head, BYE, Close], "200", 1),
    case("early-and-half-closes", &[Head, BYE, Finish, Stall], "200", 1),
    // It ends a connection that is kept, as the next request arrives: a GET is asked again, once; a POST is not.
    case("kept-closes", &[Head, HELLO, Head, Close], BROKE, 1).warm(&[Head, Body, HELLO]).get("200", Times::Exactly(2)),
    case("kept-resets", &[Head, HELLO, Head, Reset], BROKE, 1).warm(&[Head, Body, HELLO]).get("200", Times::Exactly(2)),
    case("kept-fails-again", &[Head, HELLO, Head, Reset], BROKE, 1).warm(&[Head, Reset]).get(BROKE, Times::Exactly(2)),
    // Closed before: noticed, and nothing is lost; or the two cross, and it cannot be known what was read.
    case("kept-closed-before", &[Head, HELLO, Close], "200 or 502 upstream_broke", 1)
        .warm(&[Head, Body, HELLO])
        .get("200", Times::Exactly(1))
        .post("200 or 502 upstream_broke", Times::UpTo(1)),
];
