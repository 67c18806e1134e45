//! What an agency can do wrong over HTTP/2 (RFC 9113), besides what it can do to any connection.

use crate::script::Step::{self, *};
use crate::support::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM};
use crate::{BROKE, CUT, Case, FORM, Limit, SMALL, TIMEOUT, Times, case};

const ENDED: u8 = END_HEADERS | END_STREAM;
/// `:status: 200`, of the static table (RFC 7541 appendix A), and with a length in a literal.
const OK: &[u8] = &[0x88];
const LENGTH_50: &[u8] = b"\x88\x00\x0econtent-length\x0250";
const HINTS: &[u8] = b"\x00\x07:status\x03103";
/// A field of 16 bytes, as a literal.
const FIELDS: &[u8] = b"\x00\x08x-more-1\x08and more\x00\x08x-more-2\x08and more\x00\x08x-more-3\x08and more";
/// An index that is in no table: the connection is at its end.
const BROKEN: &[u8] = &[0xff, 0xff, 0xff, 0x7f];

const HEAD: Step = Frame(HEADERS, END_HEADERS, OK);
const HELLO: Step = Frame(DATA, END_STREAM, b"hello");
const LONG: Step = Frame(HEADERS, END_HEADERS, LENGTH_50);
const PART: Step = Frame(DATA, 0, b"hello");
const CONTINUATION: u8 = 9;

/// RST_STREAM with the codes of RFC 9113 §7.
const NO_ERROR: Step = Frame(RST_STREAM, 0, &[0, 0, 0, 0]);
const INTERNAL_ERROR: Step = Frame(RST_STREAM, 0, &[0, 0, 0, 2]);
const REFUSED_STREAM: Step = Frame(RST_STREAM, 0, &[0, 0, 0, 7]);
const CANCEL: Step = Frame(RST_STREAM, 0, &[0, 0, 0, 8]);

pub const CASES: &[Case] = &[
    case("refuses", &[Refuse], "502 connect_failed", 0),
    case("backlog-full", &[Full], "504 connect_failed", 0).reaching(Limit::Connect),
    // TCP ends.
    // Before or after the gateway has sent its preface.
    case("resets-after-accept", &[Reset], "502 upstream_broke or 502 connect_failed", 0),
    case("closes-after-preface", &[Preface, Close], BROKE, 0).get(BROKE, Times::Exactly(0)),
    case("resets-after-head", &[Preface, Head, Reset], BROKE, 1),
    case("resets-in-request-body", &[Preface, Head, Part(1), Reset], BROKE, 1).only(FORM),
    case("closes-after-request", &[Preface, Head, Body, Close], BROKE, 1),
    // What the gateway writes meanwhile, an acknowledgement of settings, may meet the reset before it has read the answer.
    case("resets-after-answer-head", &[Preface, Head, Body, LONG, Reset], "200 cut or 502 upstream_broke", 1),
    case("closes-after-answer-head", &[Preface, Head, Body, HEAD, Close], CUT, 1),
    case("closes-in-body", &[Preface, Head, Body, LONG, PART, Close], CUT, 1),
    case("half-closes-unanswered", &[Preface, Head, Body, Finish, Stall], BROKE, 1),
    // It stalls.
    case("never-reads", &[Stall], TIMEOUT, 0).reaching(Limit::Response),
    case("stalls-after-head", &[Preface, Head, Stall], TIMEOUT, 1).reaching(Limit::Response),
    case("gives-no-window", &[Narrow, Head, Stall], TIMEOUT, 1).reaching(Limit::Response).only(FORM),
    case("stalls-after-103", &[Preface, Head, Frame(HEADERS, END_HEADERS, HINTS), Stall], TIMEOUT, 1)
        .reaching(Limit::Response),
    case("stalls-after-answer-head", &[Preface, Head, Body, HEAD, Stall], CUT, 1).reaching(Limit::Idle),
    case("stalls-in-body", &[Preface, Head, Body, LONG, PART, Stall], CUT, 1).reaching(Limit::Idle),
    // RST_STREAM.
    case("refused-stream", &[Preface, Head, REFUSED_STREAM], BROKE, 1).post(BROKE, Times::UpTo(2)),
    case("cancels", &[Preface, Head, CANCEL], BROKE, 1),
    case("internal-error", &[Preface, Head, Body, INTERNAL_ERROR], BROKE, 1),
    case("no-error-unanswered", &[Preface, Head, NO_ERROR], BROKE, 1),
    case("cancels-in-body", &[Preface, Head, Body, LONG, PART, CANCEL], CUT, 1),
    case("internal-error-in-body", &[Preface, Head, Body, HEAD, PART, INTERNAL_ERROR], CUT, 1),
    case("no-error-in-body", &[Preface, Head, Body, HEAD, PART, NO_ERROR], CUT, 1),
    case("no-error-after-answer", &[Preface, Head, HEAD, HELLO, NO_ERROR, Body], "200", 1),
    // RFC 9113 §8.1: it has answered and wants no more of the request.
    case("early", &[Preface, Head, HEAD, HELLO, Body], "200", 1),
    case("early-and-narrow", &[Narrow, Head, HEAD, HELLO, NO_ERROR], "200", 1),
    // GOAWAY.
    case("goaway-disowns", &[Preface, Head, GoAway(-1, 0), Close], BROKE, 1).post(BROKE, Times::UpTo(2)),
    case("goaway-then-answers", &[Preface, Head, Body, GoAway(0, 0), HEAD, HELLO], "200", 1),
    case("goaway-above-then-answers", &[Preface, Head, Body, GoAway(100, 0), HEAD, HELLO], "200", 1),
    case("goaway-then-closes", &[Preface, Head, Body, GoAway(0, 0), Close], BROKE, 1),
    case("goaway-above-then-closes", &[Preface, Head, Body, GoAway(100, 0), Close], BROKE, 1),
    case("goaway-with-error", &[Preface, Head, Body, GoAway(0, 2), Close], BROKE, 1),
    case("goaway-in-body-then-ends", &[Preface, Head, Body, HEAD, GoAway(0, 0), HELLO], "200", 1),
    case("goaway-in-body-then-closes", &[Preface, Head, Body, LONG, PART, GoAway(0, 0), Close], CUT, 1),
    // It says what is not HTTP/2, or too much of it.
    case("length-too-long", &[Preface, Head, Body, LONG, HELLO], CUT, 1),
    case("answers-in-http1", &[Say("HTTP/1.1 400 Bad Request\r\n\r\n"), Stall], BROKE, 0),
    case("garbage", &[Preface, Head, Body, Say("\x16\x03\x01\0\0 no HTTP at all"), Stall], BROKE, 1),
    case("broken-fields", &[Preface, Head, Body, Frame(HEADERS, END_HEADERS, BROKEN), Stall], BROKE, 1),
    case("no-status", &[Preface, Head, Body, Frame(HEADERS, ENDED, b"\x00\x01x\x01y"), Stall], BROKE, 1),
    case("body-before-head", &[Preface, Head, Body, HELLO, Stall], BROKE, 1),
    case("floods-103", &[Preface, Head, Body, Frames(HEADERS, END_HEADERS, HINTS), Stall], BROKE, 1),
    case(
        "floods-continuation",
        &[Preface, Head, Body, Frame(HEADERS, 0, OK), Frames(CONTINUATION, 0, FIELDS), Stall],
        BROKE,
        1,
    ),
    // It says of a request on a connection that is kept that it has not looked at it: even a POST is sent again, unless its body
    // was let through as it came.
    case("kept-disowns", KEPT_DISOWNS, "200", 2).only(SMALL).warm(WELL).get("200", Times::Exactly(2)),
    case("kept-disowns", KEPT_DISOWNS, BROKE, 1).only(FORM).warm(WELL),
    case("kept-refuses", KEPT_REFUSES, "200", 2).only(SMALL).warm(WELL).get("200", Times::Exactly(2)),
    case("kept-refuses", KEPT_REFUSES, BROKE, 1).only(FORM).warm(WELL),
    // It ends such a connection as the request arrives, and says nothing.
    case("kept-resets", &[Preface, Head, HEAD, HELLO, Head, Reset], BROKE, 1).warm(WELL).get("200", Times::Exactly(2)),
];

const WELL: &[Step] = &[Preface, Head, Body, HEAD, HELLO];
const KEPT_DISOWNS: &[Step] = &[Preface, Head, HEAD, HELLO, Head, GoAway(-2, 0), Close];
const KEPT_REFUSES: &[Step] = &[Preface, Head, HEAD, HELLO, Head, REFUSED_STREAM];
