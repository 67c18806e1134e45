use super::*;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::super::explain::{self, LostBecause};
use crate::config::model::{HostPattern, PathPattern, Position, Require, Rewrite, Segment, Timeouts};
use crate::words::{AgencyId, Level};

/// A route from a line as an operator might say it: `[GET,PUT] *.example.ir/a/{x}/*`, a final `*` for a prefix.
fn route(text: &str) -> Route {
    let (methods, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((methods, rest)) => (methods.split(',').map(|m| m.parse().unwrap()).collect(), rest),
        None => (Vec::new(), text),
    };
    let (hosts, path) = rest.split_at(rest.find('/').unwrap());
    let host = |host: &str| match host.strip_prefix("*.") {
        Some(parent) => HostPattern::Wildcard(parent.into()),
        None => HostPattern::Exact(host.into()),
    };
    let segment = |text: &str| match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(name) => Segment::Any(name.into()),
        None => Segment::Literal(text.into()),
    };
    let mut segments: Vec<_> = path[1..].split('/').map(segment).collect();
    let path = if segments.pop_if(|last| *last == Segment::Literal("*".into())).is_some() {
        PathPattern::Prefix(segments)
    } else {
        PathPattern::Exact(segments)
    };
    let second = Duration::from_secs(1);
    Route {
        at: Position { file: "routes.yaml".into(), line: 1, column: 1 },
        name: text.into(),
        agency: AgencyId(0),
        listeners: None,
        hosts: hosts.split(',').filter(|h| !h.is_empty()).map(host).collect(),
        path,
        methods: methods.into(),
        require: Require {
            level: Level::NONE,
            issuer: None,
            scopes: Vec::new(),
            max_age: None,
            via: Default::default(),
        }
        .into(),
        rewrite: Rewrite::default().into(),
        body_limit: None,
        rate: None,
        priority: Default::default(),
        timeouts: Timeouts { connect: second, response: second, idle: second, request: None }.into(),
        retry: true,
        cors: None,
    }
}

fn routes(lines: &[&str]) -> Vec<Route> {
    lines.iter().map(|line| route(line)).collect()
}

/// What a request line such as `GET api.ir/a/b` meets: the route's line, `405 ALLOW` or `404`.
fn ask<'a>(lines: &[&'a str], request: &str) -> std::borrow::Cow<'a, str> {
    let table = Table::build(&routes(lines));
    let (method, url) = request.split_once(' ').unwrap();
    let (host, path) = url.split_at(url.find('/').unwrap());
    match table.find("public", host.as_bytes(), path.as_bytes(), &method.parse().unwrap()) {
        Found::Route(RouteId(id)) => lines[id as usize].into(),
        Found::MethodNotAllowed(allow) => format!("405 {}", allow.to_str().unwrap()).into(),
        Found::Unknown => "404".into(),
    }
}

#[test]
fn a_prefix_has_itself_and_what_lies_below_and_a_path_only_itself() {
    for (pattern, fit, not) in [
        ("/a/*", &["/a", "/a/", "/a/b", "/a/b/c/"][..], &["/ab", "/", "/b/a", "/A"][..]),
        ("/a", &["/a"], &["/a/", "/a/b", "/"]),
        ("/a/", &["/a/"], &["/a", "/a/b"]),
        ("/", &["/"], &["/a"]),
        ("/*", &["/", "/a", "/a/"], &[]),
        ("/a/{id}/b", &["/a/1/b", "/a/%D8%B3/b"], &["/a//b", "/a/b", "/a/1/2/b", "/a/1/b/"]),
        (
            "/%D8%B3%D8%A7%D8%B2%D9%85%D8%A7%D9%86/*",
            &["/%D8%B3%D8%A7%D8%B2%D9%85%D8%A7%D9%86/x"],
            &["/%D8%B3%D8%A7%D8%B2%D9%85%D8%A7%D9%86%D9%87/x", "/%D8%B3%D8%A7%D8%B2%D9%85%D8%A7/x"],
        ),
        ("/a/{id}/*", &["/a/1", "/a/1/", "/a/1/b"], &["/a", "/a/"]),
    ] {
        for path in fit {
            assert_eq!(ask(&[pattern], &format!("GET any.ir{path}")), pattern, "{path}");
        }
        for path in not {
            assert_eq!(ask(&[pattern], &format!("GET any.ir{path}")), "404", "{pattern} {path}");
        }
    }
}

#[test]
fn the_most_specific_wins_whatever_the_order_in_the_file() {
    let mut lines = [
        "api.ir/*",
        "api.ir/a/*",
        "api.ir/a/b",
        "api.ir/a/b/*",
        "api.ir/a/{x}",
        "api.ir/{x}/b/c",
        "[PUT] api.ir/a/b",
        "*.ir/a/b/c/d",
        "/a/b/c/d/e",
    ];
    for _ in 0..lines.len() {
        lines.rotate_left(1);
        for (request, winner) in [
            ("GET api.ir/", "api.ir/*"),
            ("GET api.ir/a", "api.ir/a/*"),
            ("GET api.ir/a/b", "api.ir/a/b"),
            ("PUT api.ir/a/b", "[PUT] api.ir/a/b"),
            ("GET api.ir/a/x", "api.ir/a/{x}"),
            ("GET api.ir/a/x/", "api.ir/a/*"),
            ("GET api.ir/a/b/c", "api.ir/a/b/*"),
            ("GET api.ir/z/b/c", "api.ir/{x}/b/c"),
            ("GET api.ir/a/b/c/d", "api.ir/a/b/*"),
            ("GET www.ir/a/b/c/d", "*.ir/a/b/c/d"),
            ("GET www.ir/a/b/c/d/e", "/a/b/c/d/e"),
            ("GET a.b.ir/a/b/c/d", "404"),
        ] {
            assert_eq!(ask(&lines, request), winner, "{request}");
        }
    }
}

#[test]
fn routes_whose_methods_do_not_fit_are_passed_over_even_to_another_host_class() {
    let lines = ["[PUT] api.ir/a/b", "[POST] api.ir/a/{x}", "[PATCH] *.ir/a/*", "[DELETE] /*"];
    for (method, winner) in ["PUT", "POST", "PATCH", "DELETE"].iter().zip(lines) {
        assert_eq!(ask(&lines, &format!("{method} api.ir/a/b")), winner);
    }
    assert_eq!(ask(&lines, "GET api.ir/a/b"), "405 DELETE, PATCH, POST, PUT");
    assert_eq!(ask(&lines, "GET api.ir/c"), "405 DELETE");
    assert_eq!(ask(&lines[..3], "GET api.ir/c"), "404");
    assert_eq!(ask(&lines[..1], "PUT other.ir/a/b"), "404");
}

#[test]
fn get_implies_head_and_options_is_a_method_like_others() {
    assert_eq!(ask(&["[GET] /a"], "HEAD h/a"), "[GET] /a");
    assert_eq!(ask(&["[GET] /a"], "OPTIONS h/a"), "405 GET, HEAD");
    assert_eq!(ask(&["[OPTIONS] /a", "/*"], "OPTIONS h/a"), "[OPTIONS] /a");
    assert_eq!(ask(&["/a"], "PROPFIND h/a"), "/a");
    assert_eq!(ask(&["[PROPFIND] /a"], "PROPFIND h/a"), "[PROPFIND] /a");
    assert_eq!(ask(&["[PROPFIND] /a"], "LOCK h/a"), "405 PROPFIND");
    assert_eq!(ask(&["[get] /a"], "GET h/a"), "405 get");
}

#[test]
fn connect_and_trace_fit_no_route() {
    for method in ["CONNECT", "TRACE"] {
        assert_eq!(ask(&["/a"], &format!("{method} h/a")), "405 DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
        assert_eq!(ask(&["/a"], &format!("{method} h/b")), "404");
    }
}

#[test]
fn a_route_may_keep_to_some_listeners() {
    let mut all = routes(&["[GET] /a", "/a/*"]);
    all[0].listeners = Some(vec!["inner".into()]);
    let table = Table::build(&all);
    let find = |listener, method| table.find(listener, b"h", b"/a", &method);
    assert_eq!(find("inner", Method::GET), Found::Route(RouteId(0)));
    assert_eq!(find("public", Method::GET), Found::Route(RouteId(1)));
    assert_eq!(Table::build(&all[..1]).find("public", b"h", b"/a", &Method::PUT), Found::Unknown);
}

#[test]
fn explain_says_why_each_route_lost() {
    let lines = [
        "[GET] api.ir/a",
        "api.ir/a",
        "[PUT] api.ir/a",
        "api.ir/b",
        "www.ir/a",
        "*.ir/a",
        "api.ir/{x}",
        "api.ir/a/*",
        "api.ir/a",
    ];
    let all = routes(&lines);
    let why = |method: &Method| -> Vec<_> {
        let candidates = explain::candidates(&all, Some("public"), b"api.ir", b"/a", method);
        candidates.into_iter().map(|c| c.lost_because).collect()
    };
    use LostBecause as L;
    let rest = [L::Path, L::Host, L::HostLessSpecific, L::PathLessSpecific, L::PathLessSpecific].map(Some);
    let expected = |first: [Option<L>; 3], last| [&first[..], &rest, &[Some(last)]].concat();
    assert_eq!(
        why(&Method::GET),
        expected([None, Some(L::MethodsLessSpecific), Some(L::Method)], L::MethodsLessSpecific)
    );
    assert_eq!(why(&Method::POST), expected([Some(L::Method), None, Some(L::Method)], L::LaterInFile));
}

fn any_route() -> impl Strategy<Value = Route> {
    let methods = prop::sample::subsequence(vec!["GET", "HEAD", "PUT", "OPTIONS", "TRACE", "LOCK"], 0..3);
    let host = prop::sample::subsequence(vec!["a.ir", "b.ir", "*.ir", "*.b.ir"], 0..3);
    let segment = prop::sample::select(vec!["a", "b", "{x}", ""]);
    let path = (prop::collection::vec(segment, 0..5), any::<bool>());
    let listeners = prop::option::weighted(0.3, prop::sample::subsequence(vec!["public", "inner"], 1..2));
    (methods, host, path, listeners).prop_map(|(methods, hosts, (mut segments, prefix), listeners)| {
        // As config gives them: an empty segment stands only at the end, and never at the end of a prefix.
        let trailing = !prefix && segments.last().is_none_or(|last| last.is_empty());
        segments.retain(|segment| !segment.is_empty());
        segments.extend(trailing.then_some(""));
        segments.extend(prefix.then_some("*"));
        let methods = if methods.is_empty() { String::new() } else { format!("[{}] ", methods.join(",")) };
        let mut route = route(&format!("{methods}{}/{}", hosts.join(","), segments.join("/")));
        route.listeners = listeners.map(|names| names.into_iter().map(Arc::from).collect());
        route
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// The table gives what judging every route in turn gives, and 405 exactly when only methods stand in the way.
    #[test]
    fn the_table_agrees_with_a_slow_obvious_judge(
        routes in prop::collection::vec(any_route(), 0..24),
        requests in prop::collection::vec((
            prop::sample::select(vec!["public", "inner"]),
            prop::sample::select(vec!["a.ir", "b.ir", "a.b.ir", "c.ir", "ir", "a.a.a.ir"]),
            "(/[abc]){0,4}/?",
            prop::sample::select(vec!["GET", "HEAD", "PUT", "OPTIONS", "TRACE", "LOCK", "POST", "CONNECT"]),
        ), 1..16),
    ) {
        let table = Table::build(&routes);
        for (listener, host, path, method) in requests {
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let method: Method = method.parse().unwrap();
            let found = table.find(listener, host.as_bytes(), path.as_bytes(), &method);
            let judged = explain::candidates(&routes, Some(listener), host.as_bytes(), path.as_bytes(), &method);
            let winner = judged.iter().find(|c| c.lost_because.is_none()).map(|c| c.route);
            let for_method: Vec<_> = judged.iter().filter(|c| c.lost_because == Some(LostBecause::Method)).collect();
            match found {
                Found::Route(id) => prop_assert_eq!(Some(id), winner),
                Found::Unknown => prop_assert!(winner.is_none() && for_method.is_empty()),
                Found::MethodNotAllowed(allow) => {
                    prop_assert!(winner.is_none() && !for_method.is_empty());
                    let allow = allow.to_str().unwrap();
                    for name in ["GET", "HEAD", "PUT", "OPTIONS", "LOCK", "POST"] {
                        let listed = for_method.iter().any(|c| {
                            let methods = &routes[c.route.0 as usize].methods;
                            let has = |name: &str| methods.iter().any(|m| m.as_str() == name);
                            has(name) || (name == "HEAD" && has("GET"))
                                || (methods.is_empty() && name != "LOCK")
                        });
                        prop_assert_eq!(allow.split(", ").any(|m| m == name), listed, "{} in {}", name, allow);
                    }
                }
            }
        }
    }
}

#[test]
fn a_hundred_thousand_routes_take_under_300_bytes_each() {
    let all: Vec<_> = (0..100_000).map(|i| route(&format!("[GET] api.ir/agency{}/service{}/*", i / 100, i))).collect();
    let table = Table::build(&all);
    assert_eq!(table.find("l", b"api.ir", b"/agency17/service1799/x", &Method::GET), Found::Route(RouteId(1799)));
    assert_eq!(table.find("l", b"api.ir", b"/agency17/service1800/x", &Method::GET), Found::Unknown);
    let per_route = table.paths.heap_bytes() / all.len();
    assert!(per_route < 300, "{per_route} bytes");
}
