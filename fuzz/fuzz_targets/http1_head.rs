//! Any bytes as an HTTP/1.1 message: what is accepted says its length in one way only, and arrives the same in pieces.
//!
//! The first byte says where the input is cut in two.
#![no_main]

use bytes::{Bytes, BytesMut};
use darvazeh::http1::head::{Framing, HeadLimits, RequestHead, Scan, parse_request, parse_trailers};
use http::header;
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits { block: 2048, count: 16, uri: 512 };

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, message)) = bytes.split_first() else { return };
    let cut = usize::from(cut).min(message.len());
    let (whole, rest) = request(&[message]);
    let (pieces, rest_of_pieces) = request(&[&message[..cut], &message[cut..]]);
    assert_eq!(whole.is_some(), pieces.is_some(), "the cut decides");
    if let (Some(whole), Some(pieces)) = (whole, pieces) {
        assert_eq!(rest, rest_of_pieces);
        assert_eq!((&whole.method, &whole.target, whole.framing), (&pieces.method, &pieces.target, pieces.framing));
        assert_eq!(whole.headers, pieces.headers);
        one_length_only(&whole, &message[..message.len() - rest.len()]);
    }
    let _ = parse_trailers(Bytes::copy_from_slice(message), LIMITS.count);
});

fn request(pieces: &[&[u8]]) -> (Option<RequestHead>, BytesMut) {
    let (mut buffer, mut scan) = (BytesMut::new(), Scan::default());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        match parse_request(&mut buffer, &mut scan, &LIMITS) {
            Ok(Some(head)) => {
                let last = pieces.last().filter(|last| !std::ptr::eq(**last, *piece));
                buffer.extend_from_slice(last.copied().unwrap_or_default());
                return (Some(head), buffer);
            }
            Ok(None) => {}
            Err(_) => return (None, buffer),
        }
    }
    (None, buffer)
}

/// RFC 9112 §6.3, and what smuggling lives on: a slow and obvious second opinion. (`Host` is judged later, by `intake`.)
fn one_length_only(head: &RequestHead, bytes: &[u8]) {
    let count = |name: header::HeaderName| head.headers.get_all(name).count();
    let (lengths, codings) = (count(header::CONTENT_LENGTH), count(header::TRANSFER_ENCODING));
    assert!(lengths + codings <= 1, "two lengths were accepted");
    match head.framing {
        Framing::Length(_) => assert_eq!(codings, 0),
        Framing::Chunked => assert_eq!((lengths, codings), (0, 1)),
        Framing::Empty => assert_eq!(codings, 0),
        Framing::UntilClose => panic!("a request has an end"),
    }
    let bare = |at: usize| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r');
    assert!(!(0..bytes.len()).any(bare), "a bare line feed was accepted");
}
