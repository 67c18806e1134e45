use super::*;

const BAD: &str = "\
version: 1
listeners:
  - { name: public, address: 127.0.0.1:0 }
agencies:
  social-security: { endpoints: [http://127.0.0.1:9001], health: { path: /healthz } }
routes:
  - name: a
    agency: social-securty
    match: { prefix: /a }
    require: { level: 0 }
";

fn run(text: &str, format: Format) -> (String, bool) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("routes.yaml");
    std::fs::write(&file, text).unwrap();
    let mut out = Vec::new();
    let code = check(&file, format, 0, &mut out);
    let text = String::from_utf8(out).unwrap().replace(&*file.to_string_lossy(), "routes.yaml");
    (text, format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS))
}

#[test]
fn a_fault_reads_as_a_compilers() {
    let (text, good) = run(BAD, Format::Human);
    assert!(!good);
    let expected = "\
error[E0103]: unknown agency `social-securty`, did you mean `social-security`?
 --> routes.yaml:8:13
  |
8 |     agency: social-securty
  |             ^^^^^^^^^^^^^^
  = at: routes[0].agency
  = help: write `social-security`, or define the agency `social-securty`
";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("routes.yaml is refused: 1 error, 1 warning\n"), "{text}");
}

#[test]
fn json_has_the_members_of_the_contract() {
    let (text, good) = run(BAD, Format::Json);
    assert!(!good);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fault = json["faults"].as_array().unwrap().iter().find(|f| f["code"] == "E0103").unwrap();
    let keys: Vec<_> = fault.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["code", "severity", "message", "file", "line", "column", "path", "remedy"]);
    assert_eq!((&fault["severity"], &fault["line"], &fault["column"]), (&"error".into(), &8.into(), &13.into()));
}

#[test]
fn warnings_do_not_fail() {
    let (text, good) = run(
        &BAD.replace("social-securty", "social-security").replace(", health: { path: /healthz }", ""),
        Format::Human,
    );
    assert!(good, "{text}");
    assert!(text.starts_with("warning[W0003]"), "{text}");
    assert!(text.ends_with("is good: 1 listener, 0 issuers, 1 agency and 1 route; 1 warning\n"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_a_fault_without_a_place() {
    let mut out = Vec::new();
    check(Path::new("/nonexistent/routes.yaml"), Format::Human, 0, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("error[E0001]: ") && text.contains("--> /nonexistent/routes.yaml\n"), "{text}");
}

#[test]
fn every_code_is_explained() {
    for code in config::codes::ALL {
        let mut out = Vec::new();
        explain(code, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(&format!("### {code}")) && text.lines().count() > 2, "{code}: {text}");
        assert_eq!(text.matches("### ").count(), 1, "{text}");
    }
    let mut out = Vec::new();
    explain("E9999", &mut out);
    assert!(String::from_utf8(out).unwrap().contains("no fault `E9999`"));
}

#[test]
fn no_code_is_documented_that_does_not_exist() {
    for heading in FAULTS.lines().filter_map(|line| line.strip_prefix("### ")) {
        let code = heading.split([' ', ':']).next().unwrap();
        assert!(config::codes::ALL.contains(&code), "{heading}");
    }
}

/// Each line comes from the file that it stands in.
#[test]
fn faults_of_included_files_show_their_own_lines() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("routes.yaml", &format!("include: more.yaml\n{}", BAD.replace("social-securty", "social-security")));
    write(
        "more.yaml",
        "# Others.\nroutes:\n  - { name: a, agency: social-security, match: { prefix: /b }, require: { level: 0 } }\n",
    );
    let mut out = Vec::new();
    check(&dir.path().join("routes.yaml"), Format::Human, 0, &mut out);
    let text = String::from_utf8(out).unwrap().replace(&format!("{}/", dir.path().display()), "");
    let expected = "\
error[E0101]: the route `a` is defined twice
 --> more.yaml:3:13
  |
3 |   - { name: a, agency: social-security, match: { prefix: /b }, require: { level: 0 } }
  |             ^
 ::: routes.yaml:8:11
  |
8 |   - name: a
  |           - first defined here
  = at: routes[0].name
  = help: rename one of the two
";
    assert!(text.contains(expected), "{text}");
}
