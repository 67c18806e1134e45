//! `darvazeh routes`: the table, its filters, its JSON.

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::support::{BASE, Ground, darvazeh, text};

fn list(ground: &Ground, yaml: &str, more: &[&str]) -> (String, Option<i32>) {
    let file = ground.write("routes.yaml", yaml);
    let output = darvazeh(&[&["routes", "--config", &file], more].concat());
    let shown = text(&output.stdout).replace(&file, "routes.yaml");
    (shown + &text(&output.stderr), output.status.code())
}

fn names(ground: &Ground, filters: &[&str]) -> Vec<String> {
    let (json, code) = list(ground, BASE, &[filters, &["--format", "json"]].concat());
    assert_eq!(code, Some(0), "{json}");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let routes = json["routes"].as_array().expect("a list");
    routes.iter().map(|route| route["name"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn the_table_is_sorted_and_says_where_each_route_stands() {
    let (table, code) = list(&Ground::new(), BASE, &[]);
    assert_eq!(code, Some(0));
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["METHOD", "HOST", "PATH", "LEVEL", "AGENCY", "PLACE"]);
    assert_eq!(rows[1], ["*", "*", "/staff/**", "1", "news", "routes.yaml:57"]);
    assert_eq!(rows[2][..5], ["PUT,GET", "api.example.ir", "/insurance/pensions/{id}", "3", "pensions"]);
    assert_eq!(rows[3][..5], ["*", "api.example.ir", "/news/**", "0", "news"]);
    assert_eq!(rows.len(), 5);
}

#[test]
fn filters_add_up() {
    let ground = Ground::new();
    assert_eq!(names(&ground, &["--agency", "news"]), ["staff", "city"]);
    assert_eq!(names(&ground, &["--level", "2"]), ["insurance"]);
    assert_eq!(names(&ground, &["--min-level", "2"]), ["change", "insurance"]);
    assert_eq!(names(&ground, &["--host", "WWW.example.ir"]), ["staff", "insurance"]);
    assert_eq!(names(&ground, &["--method", "head", "--min-level", "2"]), ["change", "insurance"]);
    assert_eq!(names(&ground, &["--method", "PUT", "--min-level", "2"]), ["change"]);
    assert_eq!(names(&ground, &["--path", "/insurance/pensions/7"]), ["change", "insurance"]);
    assert_eq!(names(&ground, &["--path", "/insurance/"]), ["change", "insurance"]);
    assert_eq!(names(&ground, &["--path", "/"]).len(), 4);
    assert_eq!(names(&ground, &["--agency", "nobody"]), [""; 0]);
}

#[test]
fn a_path_that_no_request_has_is_refused() {
    let (said, code) = list(&Ground::new(), BASE, &["--path", "/a/../b"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("is no path of a request"), "{said}");
}

#[test]
fn columns_stand_under_each_other_with_persian_too() {
    let yaml = format!(
        "{BASE}  - {{ name: p, agency: news, match: {{ hosts: [api.example.ir], prefix: /شهر/اخبار }}, require: {{ level: 0 }} }}\n"
    );
    let (table, _) = list(&Ground::new(), &yaml, &[]);
    let row = table.lines().find(|line| line.contains("/شهر/اخبار/**")).expect("Persian reads as Persian");
    let column = |line: &str, part: &str| line[..line.find(part).unwrap()].width();
    assert_eq!(column(row, "news"), column(table.lines().next().unwrap(), "AGENCY"), "{table}");
    let found = list(&Ground::new(), &yaml, &["--path", "/شهر"]).0;
    assert!(found.contains("/شهر/اخبار/**"), "{found}");
}
