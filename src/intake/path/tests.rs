use super::*;

use proptest::prelude::*;

fn ok(raw: &str) -> String {
    match canonical(raw.as_bytes()) {
        Ok(path) => String::from_utf8(path.into_owned()).expect("canonical paths are ASCII"),
        Err(why) => panic!("{raw} was refused: {}", why.0),
    }
}

fn refused(raw: impl AsRef<[u8]>) -> &'static str {
    let raw = raw.as_ref();
    match canonical(raw) {
        Ok(path) => panic!("{} passed as {}", raw.escape_ascii(), path.escape_ascii()),
        Err(Ambiguous(why)) => why,
    }
}

#[test]
fn usual_paths_stay_as_they_are_and_cost_no_allocation() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b.c/d..e/...",
        "/.well-known/x",
        "/a-._~!$&'()*+,=:@",
        "/%D8%B3%D8%A7%D8%B2%D9%85%D8%A7%D9%86/%E2%80%8C",
        "/a%20b/%3F/100%25/%2541",
    ] {
        let out = canonical(path.as_bytes()).unwrap_or_else(|why| panic!("{path}: {}", why.0));
        assert!(matches!(out, Cow::Borrowed(_)), "{path} was copied");
        assert_eq!(&*out, path.as_bytes());
    }
}

/// HP-5: one form, whatever the spelling.
#[test]
fn spellings_of_one_path_have_one_canonical_form() {
    assert_eq!(ok("/%73ecure"), "/secure");
    assert_eq!(ok("/%73%65%63%75%72%65/%7E"), "/secure/~");
    assert_eq!(ok("/a/%d8%b3%D8%a7"), "/a/%D8%B3%D8%A7");
    assert_eq!(ok("/a%20b%3a"), "/a%20b%3A");
    assert_eq!(ok("/x%2Ejson"), "/x.json");
    assert_eq!(ok("/%41b/%25%34%31"), "/Ab/%2541");
    assert_eq!(ok("/CASE"), "/CASE");
}

/// HP-5
#[test]
fn dot_segments_are_refused_in_any_spelling() {
    for path in [
        "/.",
        "/..",
        "/a/.",
        "/a/..",
        "/a/./b",
        "/a/../b",
        "/%2e",
        "/%2E%2e/a",
        "/a/.%2E",
        "/a/%2e./b",
        "/../",
        "/./",
        "/a/%2e%2e",
    ] {
        assert_eq!(refused(path), DOT_SEGMENT.0, "{path}");
    }
}

/// HP-5
#[test]
fn separators_and_controls_are_refused_raw_and_escaped() {
    for path in [
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%5C",
        "/a\\b",
        "/%00",
        "/a%00.png",
        "/a%0d%0aX:%20y",
        "/a\r\n",
        "/a\tb",
        "/a\x7f",
        "/a%7f",
        "/%1f",
        "/a;b",
        "/a;jsessionid=1/b",
        "/a%3bb",
        "/a%3B",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/a#b",
        "/a%23",
        "/%C2%85",
    ] {
        refused(path);
    }
}

/// HP-5
#[test]
fn broken_escapes_and_broken_text_are_refused() {
    for path in ["/%", "/%2", "/%zz", "/%4g", "/a%%41", "/%u0041", "/%2%65"] {
        assert_eq!(refused(path), BROKEN_ESCAPE.0, "{path}");
    }
    for path in
        ["/%ff", "/%c0%ae", "/%C0%AF", "/%e0%80%af", "/%ed%a0%80", "/%f4%90%80%80", "/%d8", "/%d8a", "/%d8%41", "/%b3"]
    {
        assert_eq!(refused(path), NOT_UTF8.0, "{path}");
    }
    assert_eq!(refused("/سازمان"), NON_ASCII.0);
    assert_eq!(refused(b"/\xff"), NON_ASCII.0);
}

#[test]
fn characters_outside_the_grammar_are_refused_raw_but_pass_escaped() {
    for byte in *b" \"<>[]^`{|}" {
        refused([b'/', byte]);
        ok(&format!("/%{byte:02x}"));
    }
    refused("/a?b");
}

#[test]
fn a_path_begins_with_a_slash() {
    for path in ["", "a", "*", "%2fa", "http://a/b"] {
        refused(path);
    }
}

/// HP-5: an agency that decodes once more (or twice) meets nothing that was not judged.
#[test]
fn escaped_escapes_of_special_characters_are_refused() {
    for path in [
        "/%252e",
        "/%252e%252e/a",
        "/a%252eb",
        "/.%252e",
        "/%252f",
        "/%252F",
        "/%255c",
        "/%253b",
        "/%2500",
        "/%250a",
        "/%257f",
        "/%2523",
        "/%25%32%65",
        "/%25%32%46",
        "/%2%35%32e",
        "/%25252e",
        "/%2525252f",
        "/%25%2532e",
        "/%25c0%25ae",
        "/%25ff",
        "/%25d8",
        "/%25d8%2525b3",
        "/%25C2%2585",
        "/%2525252541",
    ] {
        refused(path);
    }
    for path in ["/100%25", "/100%25/b", "/%25zz", "/%2541", "/%25D8%25B3", "/a%2520b", "/50%25off", "/%2525"] {
        assert_eq!(ok(path), path);
    }
}

/// Bytes that meet the rules often: mostly escapes, dots, slashes and digits.
fn nasty_path() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["/", ".", "%", "%25", "25", "2e", "2F", "%2e", "%2f", "%5C", "%3b", "%00", ";", "\\"])
            .prop_map(|s| s.as_bytes().to_vec()),
        3 => any::<u8>().prop_map(|b| format!("%{b:02x}").into_bytes()),
        2 => any::<u8>().prop_map(|b| format!("%25{b:02X}").into_bytes()),
        2 => "[a-z0-9]{1,3}".prop_map(String::into_bytes),
        2 => any::<char>().prop_map(|c| c.to_string().bytes().flat_map(|b| format!("%{b:02x}").into_bytes()).collect()),
        1 => any::<u8>().prop_map(|b| vec![b]),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| [b"/".to_vec(), pieces.concat()].concat())
}

/// The obvious reader: every whole escape becomes its byte, a broken one stays.
fn read(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| first == b'%').and_then(|two| str::from_utf8(two).ok());
        let byte = escaped.filter(|t| !t.starts_with('+')).and_then(|t| u8::from_str_radix(t, 16).ok());
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    out
}

/// What nobody behind the gateway may ever see in a path, however often they decode it.
fn dangerous(reading: &[u8], slashes: usize) -> bool {
    let mut segments = reading.split(|b| *b == b'/').skip(1).peekable();
    let mut bad_segment = false;
    while let Some(segment) = segments.next() {
        bad_segment |= segment == b"." || segment == b".." || (segment.is_empty() && segments.peek().is_some());
    }
    let text = String::from_utf8_lossy(reading);
    bad_segment
        || reading.iter().filter(|b| **b == b'/').count() != slashes
        || text.contains(char::REPLACEMENT_CHARACTER) != reading.windows(3).any(|w| w == "\u{fffd}".as_bytes())
        || text.contains(|c: char| c.is_control() || matches!(c, '\\' | ';' | '#'))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn canonical_is_idempotent(raw in nasty_path()) {
        if let Ok(once) = canonical(&raw) {
            let twice = canonical(&once).map(Cow::into_owned);
            prop_assert_eq!(twice, Ok(once.clone().into_owned()));
            prop_assert!(matches!(canonical(&once), Ok(Cow::Borrowed(_))));
        }
    }

    /// What passes means the same as what came in, and is safe however often it is decoded.
    #[test]
    fn what_passes_is_safe_for_every_reader(raw in nasty_path()) {
        if let Ok(path) = canonical(&raw) {
            prop_assert!(path.is_ascii());
            prop_assert_eq!(read(&path), read(&raw));
            let slashes = path.iter().filter(|b| **b == b'/').count();
            let mut reading = path.into_owned();
            for _ in 0..4 {
                prop_assert!(!dangerous(&reading, slashes), "{} reads {}", raw.escape_ascii(), reading.escape_ascii());
                reading = read(&reading);
            }
        }
    }

    /// Refusals are not for nothing: plain text in any language, properly escaped, always passes.
    #[test]
    fn escaped_text_passes(segments in prop::collection::vec("[^\\p{C}/\\\\;#%.]{1,6}", 1..4)) {
        let escape = |s: &String| s.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let raw = segments.iter().map(|s| format!("/{}", escape(s))).collect::<String>();
        let plain = segments.iter().map(|s| format!("/{s}")).collect::<String>();
        prop_assert_eq!(read(ok(&raw).as_bytes()), plain.into_bytes());
    }

    #[test]
    fn no_bytes_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = canonical(&raw);
    }
}
