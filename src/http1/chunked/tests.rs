use super::*;

fn decode(text: &[u8]) -> Result<(Vec<u8>, Option<HeaderMap>), HeadFault> {
    let (mut decoder, mut buffer, mut data) = (Decoder::default(), BytesMut::from(text), Vec::new());
    loop {
        match decoder.next(&mut buffer)? {
            Piece::Data(bytes) => data.extend_from_slice(&bytes),
            Piece::End(trailers) => return Ok((data, Some(trailers))),
            Piece::Starved => return Ok((data, None)),
        }
    }
}

#[test]
fn chunks_are_joined_and_trailers_kept() {
    let (data, trailers) = decode(b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nChecksum: 1\r\n\r\n").unwrap();
    assert_eq!(data, b"abc0123456789");
    assert_eq!(trailers.unwrap()["checksum"], "1");
}

#[test]
fn a_coding_may_come_byte_by_byte() {
    let text = b"3\r\nabc\r\n0\r\n\r\n";
    let (mut decoder, mut buffer, mut data, mut ended) = (Decoder::default(), BytesMut::new(), Vec::new(), false);
    for byte in text {
        assert!(!ended);
        buffer.put_u8(*byte);
        loop {
            match decoder.next(&mut buffer).unwrap() {
                Piece::Data(bytes) => data.extend_from_slice(&bytes),
                Piece::Starved => break,
                Piece::End(_) => {
                    ended = true;
                    break;
                }
            }
        }
    }
    assert!(ended);
    assert_eq!(data, b"abc");
}

/// SM-5
#[test]
fn doubtful_sizes_are_refused() {
    for text in [
        &b"0x3\r\nabc\r\n"[..],
        b"+3\r\nabc\r\n",
        b"-3\r\nabc\r\n",
        b"3_0\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"\r\nabc\r\n",
        b"g\r\nabc\r\n",
        b"3\nabc\r\n",
        b"3;a=\n\r\nabc\r\n",
        b"3;a=\rb\r\nabc\r\n",
        b"3 x\r\nabc\r\n",
        b"10000000000000000\r\n",
        b"ffffffffffffffff\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n0\r\n\r\n",
    ] {
        assert!(decode(text).is_err(), "{:?}", String::from_utf8_lossy(text));
    }
    let long = [b"3;".as_slice(), &[b'x'; 300], b"\r\nabc\r\n"].concat();
    assert!(decode(&long).is_err());
}

/// SM-4
#[test]
fn trailers_are_as_strict_as_headers() {
    assert!(decode(b"0\r\nA: b\n\r\n").is_err());
    assert!(decode(b"0\r\nA : b\r\n\r\n").is_err());
    assert!(decode(b"0\r\nA: b\r\n c\r\n\r\n").is_err());
}

#[test]
fn a_body_that_breaks_off_has_no_end() {
    assert_eq!(decode(b"5\r\nab").unwrap(), (b"ab".to_vec(), None));
    assert_eq!(decode(b"2\r\nab\r\n").unwrap().1, None);
    assert_eq!(decode(b"0\r\n").unwrap().1, None);
}

#[test]
fn what_is_written_is_read_again() {
    let mut out = BytesMut::new();
    for piece in [&b"hello"[..], &[b'x'; 300]] {
        write_size(&mut out, piece.len());
        out.put_slice(piece);
        out.put_slice(b"\r\n");
    }
    write_end(&mut out, None);
    let (data, trailers) = decode(&out).unwrap();
    assert_eq!(data.len(), 305);
    assert!(trailers.unwrap().is_empty());
}
