use super::{parse as parse_file, *};

fn parse(text: &str) -> Result<Node<'_>, Unreadable> {
    parse_file(text, 0, &mut 0)
}

fn map<'a, 't>(node: &'a Node<'t>) -> &'a [Entry<'t>] {
    match &node.value {
        Value::Map(entries) => entries,
        other => panic!("not a mapping: {other:?}"),
    }
}

fn get<'a, 't>(node: &'a Node<'t>, key: &str) -> &'a Node<'t> {
    &map(node).iter().find(|e| e.key == key).unwrap_or_else(|| panic!("no {key}")).value
}

fn text<'a>(node: &'a Node<'_>) -> &'a str {
    match &node.value {
        Value::Scalar { text, .. } => text,
        other => panic!("not a scalar: {other:?}"),
    }
}

#[test]
fn every_node_knows_its_place() {
    let tree = parse("a: 1\nb:\n  - { c: \"x\", د: ی }\n").unwrap();
    assert_eq!(get(&tree, "a").place, Place { file: 0, line: 1, column: 4 });
    let Value::Seq(items) = &get(&tree, "b").value else { panic!() };
    assert_eq!(get(&items[0], "c").place, Place { file: 0, line: 3, column: 10 });
    assert_eq!(map(&items[0])[1].place, Place { file: 0, line: 3, column: 15 });
    assert_eq!(get(&items[0], "د").place, Place { file: 0, line: 3, column: 18 });
}

/// Files from Windows begin with a byte order mark and end their lines with CR LF.
#[test]
fn a_byte_order_mark_and_crlf_change_nothing() {
    let tree = parse("\u{feff}a: 1\r\nb: 2\r\n").unwrap();
    assert_eq!((text(get(&tree, "a")), text(get(&tree, "b"))), ("1", "2"));
    assert_eq!(get(&tree, "b").place, Place { file: 0, line: 2, column: 4 });
}

#[test]
fn quotes_and_the_text_tag_make_text() {
    let tree = parse("{a: 1, b: \"1\", c: !!str 1}").unwrap();
    let plain = |key| matches!(get(&tree, key).value, Value::Scalar { plain: true, .. });
    assert_eq!((plain("a"), plain("b"), plain("c")), (true, false, false));
}

#[test]
fn aliases_and_merge_keys_are_resolved_and_what_is_written_wins() {
    let tree =
        parse("base: &base { x: 1, y: 2 }\nuse: { <<: *base, y: 3 }\nmany: { <<: [*base, { z: 4, x: 9 }] }\n").unwrap();
    let used = get(&tree, "use");
    assert_eq!((text(get(used, "x")), text(get(used, "y"))), ("1", "3"));
    let many = get(&tree, "many");
    assert_eq!((text(get(many, "x")), text(get(many, "z"))), ("1", "4"));
    assert_eq!(get(used, "x").place.line, 1, "what came by an alias stands where it was defined");
}

#[test]
fn a_billion_laughs_are_refused_quickly() {
    let mut file = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..12 {
        let refs = vec![format!("*a{}", i - 1); 10].join(",");
        file.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    assert!(matches!(parse(&file), Err(Unreadable::TooMuch(..))));
}

#[test]
fn depth_is_bounded() {
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    assert!(matches!(parse(&deep), Err(Unreadable::TooMuch(..))));
    assert!(parse(&"[".repeat(100_000)).is_err());
}

#[test]
fn what_has_no_meaning_is_refused_with_its_place() {
    for (file, line) in [
        ("a: &a [*a]", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: 1\nb: !!binary x\n", 2),
        ("", 1),
        ("a: 1\n{b: 2}: 3\n", 2),
        ("a: [1\nb: 2\n", 2),
        ("a: *nobody\n", 1),
        ("a: { <<: 1 }\n", 1),
    ] {
        match parse(file) {
            Err(Unreadable::Syntax(place, _)) => assert!(place.line >= line, "{file:?} at {place:?}"),
            other => panic!("{file:?}: {other:?}"),
        }
    }
}

proptest::proptest! {
    /// Whatever the bytes, an answer and no panic.
    #[test]
    fn nothing_makes_it_panic(file in "[-a-z:{}\\[\\]&*!|>'\"#%@,? \n\t\u{feff}د]{0,80}") {
        let _ = parse(&file);
    }
}
