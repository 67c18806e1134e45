//! The floods that HTTP/2 allows (H2-1): the connection ends or the flood is bounded, memory stays flat, and others are served.

use crate::support::agency::Agency;
use crate::support::client::{get, send};
use crate::support::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};
use crate::support::gateway::Gateway;
use crate::support::verdict::assert_passed;
use crate::support::within;
use crate::support::world::before;

/// Far more than any of the bounds lets pass unnoticed.
const MANY: u32 = 20_000;
/// What a debug build may grow by for other reasons.
const SLACK_KIB: u64 = 48 * 1024;

/// Sends what `piece` makes, `MANY` times or until the gateway hangs up; it never reads. Afterwards others are served, and
/// memory is what it was. Gives whether the connection was ended.
async fn flood(name: &str, opening: &[u8], piece: impl Fn(u32) -> Vec<u8>) -> (bool, Agency, Gateway) {
    let agency = Agency::hello().await;
    let gateway = before(&agency.url()).await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
    let resident = gateway.resident_kib();
    let mut wire = frames::connect(&gateway).await;
    wire.send(opening).await.unwrap();
    let mut ended = false;
    for n in 0..MANY / 100 {
        let pieces: Vec<u8> = (0..100).flat_map(|i| piece(n * 100 + i)).collect();
        // A gateway that stops reading is as good as one that hangs up.
        match tokio::time::timeout(std::time::Duration::from_secs(2), wire.send(pieces)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                ended = true;
                break;
            }
            Err(_) => break,
        }
    }
    assert_passed(&send(&gateway, get("/open", &[])).await);
    let grown = gateway.resident_kib().saturating_sub(resident);
    assert!(grown < SLACK_KIB, "{name}: {grown} KiB more");
    if !ended {
        ended = frames::reads_to_goaway(&mut wire).await;
    }
    (ended, agency, gateway)
}

fn request(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &frames::request_block("POST", "/open", &[]))
}

/// CVE-2023-44487
#[tokio::test]
async fn h21_rapid_resets() {
    let reset =
        |n: u32| [request(2 * n + 1, END_STREAM), frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes())].concat();
    let (ended, ..) = flood("rapid reset", &[], reset).await;
    assert!(ended);
}

/// CVE-2025-8671: the gateway is made to reset each stream, by a window that overflows.
#[tokio::test]
async fn h21_resets_that_we_are_made_to_send() {
    let overflow = |n: u32| [request(2 * n + 1, 0), frame(WINDOW_UPDATE, 0, 2 * n + 1, &0u32.to_be_bytes())].concat();
    let (ended, agency, _gateway) = flood("made you reset", &[], overflow).await;
    assert!(ended);
    assert!(agency.seen().len() < 500, "{} reached the agency", agency.seen().len());
}

/// A block that goes on and on (CVE-2024-27316 and its kind).
#[tokio::test]
async fn h21_continuations_without_end() {
    let opening = frame(HEADERS, 0, 1, &frames::request_block("GET", "/open", &[]));
    let more = |_| frame(CONTINUATION, 0, 1, &frames::block(&[(b"x-filler", &[b'a'; 100])]));
    let (ended, agency, _gateway) = flood("continuation", &opening, more).await;
    assert!(ended);
    assert_eq!(agency.seen().len(), 2, "only the requests of others");
}

/// CVE-2019-9512
#[tokio::test]
async fn pings_are_not_piled_up() {
    flood("ping", &[], |n| frame(PING, 0, 0, &u64::from(n).to_be_bytes())).await;
}

/// CVE-2019-9515
#[tokio::test]
async fn settings_are_not_piled_up() {
    flood("settings", &[], |_| frame(SETTINGS, 0, 0, &[])).await;
}

/// CVE-2019-9518: frames that carry nothing and end nothing.
#[tokio::test]
async fn empty_data_frames_cost_nobody_else_anything() {
    flood("empty data", &request(1, 0), |_| frame(DATA, 0, 1, &[])).await;
}

#[tokio::test]
async fn streams_over_the_limit_are_refused() {
    let agency = Agency::hello().await;
    let gateway = before(&agency.url()).await;
    let mut wire = frames::connect(&gateway).await;
    // None of them ends its body, so all stay open.
    let opened: Vec<u8> = (0..150).flat_map(|n| request(2 * n + 1, 0)).collect();
    wire.send(opened).await.unwrap();
    let refused = async {
        loop {
            match frames::next(&mut wire).await {
                Some(f) if f.kind == RST_STREAM => return f.payload == 7u32.to_be_bytes(),
                Some(_) => {}
                None => return false,
            }
        }
    };
    assert!(within("a stream is refused", refused).await, "REFUSED_STREAM (RFC 9113 §5.1.2)");
    assert_passed(&send(&gateway, get("/open", &[])).await);
}
