//! Any bytes as a chunked body: however they are cut, they mean the same, and nothing is read beyond the end.
//!
//! The first byte says how many bytes arrive at a time.
#![no_main]

use bytes::BytesMut;
use darvazeh::http1::chunked::{Decoder, Piece, write_end, write_size};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&step, body)) = bytes.split_first() else { return };
    let whole = decode(body, body.len().max(1));
    let pieces = decode(body, usize::from(step).max(1));
    assert_eq!(whole, pieces, "the cut decides");
    if let Some((data, trailers, _)) = whole {
        let written = encode(&data, &trailers);
        assert_eq!(decode(&written, 1), Some((data, trailers, 0)), "what is written is not read back");
    }
});

/// Data, trailers and how many bytes were left over; `None` when refused or not at its end.
fn decode(body: &[u8], step: usize) -> Option<(Vec<u8>, HeaderMap, usize)> {
    let (mut decoder, mut buffer, mut data) = (Decoder::default(), BytesMut::new(), Vec::new());
    let mut arrivals = body.chunks(step);
    loop {
        match decoder.next(&mut buffer).ok()? {
            Piece::Data(bytes) => data.extend_from_slice(&bytes),
            Piece::End(trailers) => {
                return Some((data, trailers, buffer.len() + arrivals.map(<[u8]>::len).sum::<usize>()));
            }
            Piece::Starved => buffer.extend_from_slice(arrivals.next()?),
        }
    }
}

fn encode(data: &[u8], trailers: &HeaderMap) -> Vec<u8> {
    let mut out = BytesMut::new();
    if !data.is_empty() {
        write_size(&mut out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
    write_end(&mut out, Some(trailers));
    out.to_vec()
}
