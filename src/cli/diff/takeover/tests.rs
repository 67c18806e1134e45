use std::fmt::Write;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config;

/// Host, path (`/**` at its end: prefix), methods; each as the file has it, empty for none.
type Pattern = (&'static str, String, &'static str);

fn pattern() -> impl Strategy<Value = Pattern> {
    let host = select(vec!["", "a.example.ir", "*.example.ir"]);
    let path = proptest::collection::vec(select(vec!["a", "b", "{}"]), 0..4);
    let methods = select(vec!["", "", "GET", "PUT"]);
    (host, path, any::<bool>(), methods).prop_map(|(host, path, open, methods)| {
        let mut text = String::new();
        for (depth, segment) in path.iter().enumerate() {
            let _ = match *segment {
                "{}" => write!(text, "/{{p{depth}}}"),
                literal => write!(text, "/{literal}"),
            };
        }
        if text.is_empty() {
            text.push('/');
        }
        (host, if open { text + "/**" } else { text }, methods)
    })
}

/// Routes by number: the same number in two files is the same route.
fn file(routes: &[(u8, Pattern)]) -> Option<Config> {
    let mut text = String::from(
        "version: 1\nlisteners: [{ name: l, address: \"127.0.0.1:0\" }]\n\
         agencies: { a: { endpoints: [\"http://127.0.0.1:1\"] } }\nroutes:\n",
    );
    for (number, (host, path, methods)) in routes {
        let path = match path.strip_suffix("/**") {
            Some(prefix) => format!("prefix: \"{}\"", if prefix.is_empty() { "/" } else { prefix }),
            None => format!("path: \"{path}\""),
        };
        let hosts = if host.is_empty() { String::new() } else { format!("hosts: [\"{host}\"], ") };
        let methods = if methods.is_empty() { String::new() } else { format!(", methods: [{methods}]") };
        let _ = writeln!(
            text,
            "  - {{ name: r{number}, agency: a, match: {{ {hosts}{path}{methods} }}, require: {{ level: 0 }} }}"
        );
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("routes.yaml");
    std::fs::write(&file, text).expect("the file is written");
    config::load(&file, 0).ok().map(|loaded| loaded.config)
}

/// `/a/` is a path of its own: a prefix has it, and `/{x}` and `/{x}/{y}` do not.
#[test]
fn a_slash_at_the_end_is_looked_at_below_a_prefix() {
    let route = |number: u8, path: &str| (number, ("", path.to_owned(), ""));
    let old = file(&[route(0, "/**")]).unwrap();
    let new = file(&[route(0, "/{x}/{y}/**"), route(1, "/{x}"), route(2, "/")]).unwrap();
    let found = find(&old, &new, &Pairs::of(&old, &new));
    assert_eq!(found.refused.values().map(|example| &*example.path).collect::<Vec<_>>(), [format!("/{ANYTHING}/")]);
}

/// Every path of up to five segments out of a few, with and without a slash at its end.
fn requests() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..5 {
        last = last.iter().flat_map(|path| ["a", "b", "z"].map(|segment| format!("{path}/{segment}"))).collect();
        all.extend(last.iter().cloned());
    }
    all.iter().flat_map(|path| [path.clone(), format!("{path}/")]).filter(|path| !path.is_empty()).collect()
}

fn routes() -> impl Strategy<Value = Vec<(u8, Pattern)>> {
    proptest::collection::btree_map(0..6_u8, pattern(), 1..6).prop_map(Vec::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever request is answered by another route than before, or by none, its routes are told of; and what is told is so.
    #[test]
    fn nothing_moves_unseen((old, new) in (routes(), routes())) {
        let (Some(old), Some(new)) = (file(&old), file(&new)) else { return Ok(()) };
        let pairs = Pairs::of(&old, &new);
        let found = find(&old, &new, &pairs);
        prop_assert!(!found.unexamined);
        let (before, after) = (Table::compile(&old), Table::compile(&new));
        let requests = requests();
        for host in ["a.example.ir", "z.example.ir", "elsewhere.ir"] {
            for method in [Method::GET, Method::PUT, Method::PATCH] {
                for path in &requests {
                    let ask = |table: &Table| table.find("l", host.as_bytes(), path.as_bytes(), &method);
                    let Found::Route(was) = ask(&before) else { continue };
                    let told = match ask(&after) {
                        Found::Route(is) => {
                            pairs.routes.new_of[was.0 as usize] == Some(is.0 as usize)
                                || found.taken.iter().any(|(old, new, _)| (*old, *new) == (was, is))
                        }
                        _ => found.refused.contains_key(&was),
                    };
                    prop_assert!(told, "{method} {host}{path} of {was:?}: {:?}", ask(&after));
                }
            }
        }
    }
}
