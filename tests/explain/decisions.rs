//! Which route, which answer, which exit code (contract sections 1 and 5).

use serde_json::json;

use super::support::*;

const HISTORY: [&str; 2] = ["GET", "https://api.example.ir/insurance/x"];

#[test]
fn a_supposed_caller_of_sufficient_level_is_forwarded() {
    let dir = directory(NOWHERE, "");
    let (said, code) = json_of(dir.path(), &[&HISTORY[..], &["--level", "2", "--scope", "insurance.read"]].concat());
    assert_eq!(code, 0);
    for (member, wanted) in [
        ("route", json!("history")),
        ("agency", json!("insurance")),
        ("path", json!("/insurance/x")),
        ("decision", json!("forward")),
        ("status", json!(200)),
        ("code", json!(null)),
        ("requires", json!({ "level": 2, "issuer": "sso", "scopes": ["insurance.read"], "max_age": null })),
        ("level", json!(2)),
        ("target", json!("/x")),
        ("endpoints", json!([{ "url": NOWHERE, "weight": 1 }, { "url": NOWHERE, "weight": 2 }])),
    ] {
        assert_eq!(said[member], wanted, "{member}");
    }
    assert_eq!(said["headers"]["host"], "api.example.ir");
}

#[test]
fn each_candidate_says_why_it_lost() {
    let dir = directory(NOWHERE, "");
    let (said, _) = json_of(dir.path(), &["GET", "https://x.cities.example.ir/news/today"]);
    let reasons: Vec<_> = said["candidates"].as_array().unwrap().iter().collect();
    let of = |route: &str| &reasons.iter().find(|c| c["route"] == route).expect("every route is there")["lost_because"];
    assert_eq!(reasons[0]["route"], "news");
    assert_eq!((of("news"), of("history")), (&json!(null), &json!("another host")));
    assert_eq!((of("account"), of("inside")), (&json!("another path"), &json!("another listener")));
    assert_eq!(reasons.len(), 6);
}

#[test]
fn a_refusal_has_the_code_and_the_challenge_of_the_gateway() {
    let dir = directory(NOWHERE, "");
    let pension = ["PUT", "https://api.example.ir/insurance/pensions/7"];
    for (arguments, status, code, challenge) in [
        (&HISTORY[..], 401, "token_missing", "Bearer realm=\"public\""),
        (
            &[&HISTORY[..], &["--level", "1"]].concat(),
            401,
            "level_too_low",
            "acr_values=\"urn:example:level:2 urn:example:level:3\"",
        ),
        (&[&HISTORY[..], &["--level", "0"]].concat(), 401, "level_too_low", "insufficient_user_authentication"),
        (&[&HISTORY[..], &["--level", "3"]].concat(), 403, "scope_missing", "scope=\"insurance.read\""),
        (&[&pension[..], &["--level", "3", "--age", "16m"]].concat(), 401, "authentication_too_old", "max_age=\"900\""),
        (&["GET", "https://api.example.ir/profile?access_token=x"], 400, "credentials_malformed", "invalid_request"),
    ] {
        let (said, exit) = json_of(dir.path(), arguments);
        assert_eq!((&said["decision"], exit), (&json!("refuse"), 3), "{arguments:?}");
        assert_eq!((&said["status"], &said["code"]), (&json!(status), &json!(code)), "{arguments:?}");
        let text = said["answer"]["headers"]["www-authenticate"].as_str().unwrap();
        assert!(text.contains(challenge), "{arguments:?}: {text}");
    }
    // Within the age and the issuer's skew.
    assert_eq!(json_of(dir.path(), &[&pension[..], &["--level", "3", "--age", "15m"]].concat()).1, 0);
}

#[test]
fn no_route_is_exit_code_4() {
    let dir = directory(NOWHERE, "");
    for (method, url, status, code) in [
        ("GET", "https://other.example.ir/insurance", 404, "route_unknown"),
        ("GET", "https://api.example.ir/insurances", 404, "route_unknown"),
        ("DELETE", "https://api.example.ir/insurance/x", 405, "method_not_allowed"),
        ("CONNECT", "https://api.example.ir/", 405, "method_not_allowed"),
        ("TRACE", "https://api.example.ir/news", 405, "method_not_allowed"),
    ] {
        let (said, exit) = json_of(dir.path(), &[method, url]);
        assert_eq!((&said["decision"], exit), (&json!("no_route"), 4), "{method} {url}");
        assert_eq!((&said["status"], &said["code"]), (&json!(status), &json!(code)), "{method} {url}");
        assert_eq!(said["route"], json!(null));
    }
    let (said, _) = json_of(dir.path(), &["DELETE", "https://api.example.ir/insurance/pensions/7"]);
    assert_eq!(said["answer"]["headers"]["allow"], "GET, HEAD, PUT");
}

/// HP-5
#[test]
fn an_ambiguous_path_is_refused_and_a_plain_one_made_canonical() {
    let dir = directory(NOWHERE, "");
    for path in ["/news/../x", "/news/%2e%2e/x", "/news%2fx", "/news/a;b", "/news//x", "/news/%zz", "/news\\x", "/n#x"]
    {
        let (said, exit) = json_of(dir.path(), &["GET", &format!("https://api.example.ir{path}")]);
        assert_eq!((&said["code"], &said["status"], exit), (&json!("path_ambiguous"), &json!(400), 3), "{path}");
    }
    let (said, exit) = json_of(dir.path(), &["GET", "https://API.example.ir/%6eews/%d8%a7"]);
    assert_eq!((&said["path"], &said["target"], exit), (&json!("/news/%D8%A7"), &json!("/news/%D8%A7"), 0));
}

#[test]
fn letters_outside_ascii_are_refused_with_what_a_browser_would_send() {
    let dir = directory(NOWHERE, "");
    let (text, exit) = explained(dir.path(), &["GET", "https://api.example.ir/news/خبر"]);
    assert!(exit == 3 && text.contains("https://api.example.ir/news/%D8%AE%D8%A8%D8%B1"), "{text}");
}

#[test]
fn the_listener_decides_too() {
    let dir = directory(NOWHERE, "");
    let inside = ["GET", "http://api.example.ir/inside/x"];
    assert_eq!(json_of(dir.path(), &inside).1, 4);
    let (said, exit) = json_of(dir.path(), &[&inside[..], &["--listener", "internal"]].concat());
    assert_eq!((&said["route"], &said["listener"], exit), (&json!("inside"), &json!("internal"), 0));
    assert_eq!(explained(dir.path(), &[&inside[..], &["--listener", "nowhere"]].concat()).1, 2);
}

#[test]
fn a_person_reads_a_tree() {
    let dir = directory(NOWHERE, "");
    let arguments = [&HISTORY[..], &["--level", "1"]].concat();
    let (text, exit) = explained(dir.path(), &arguments);
    assert_eq!(exit, 3);
    for line in [
        "GET https://api.example.ir/insurance/x\n",
        "├─ listener  public, plain HTTP\n├─ path      /insurance/x\n",
        "├─ route     history\n│  ├─ history  met  (",
        "│  ├─ pension  lost: another path  (",
        "│  └─ inside   lost: another listener  (",
        "├─ requires  level 2 of sso, scopes insurance.read\n",
        "├─ caller    supposed: a valid token of level 1, no scopes, authenticated just now\n",
        "├─ agency    insurance\n│  ├─ http://127.0.0.1:9\n│  └─ http://127.0.0.1:9  (weight 2)\n",
        "└─ answer    401 level_too_low\n   ├─ www-authenticate: Bearer realm=\"public\"",
    ] {
        assert!(text.contains(line), "`{line}` in\n{text}");
    }
}

#[test]
fn a_faulty_config_shows_its_faults_and_ends_with_1() {
    let dir =
        directory(NOWHERE, "  - { name: broken, agency: insuranse, match: { prefix: /b }, require: { level: 0 } }\n");
    let (text, exit) = explained(dir.path(), &HISTORY);
    assert_eq!(exit, 1);
    assert!(text.contains("error[E0103]: unknown agency `insuranse`, did you mean `insurance`?"), "{text}");
    let (said, exit) = json_of(dir.path(), &HISTORY);
    assert_eq!((&said["faults"][0]["code"], exit), (&json!("E0103"), 1));
}

#[test]
fn a_command_line_that_makes_no_sense_says_so() {
    let dir = directory(NOWHERE, "");
    for (arguments, why) in [
        (&["GET", "/insurance"][..], "does not begin with `https://`"),
        (&["G T", "https://a/"], "the method is not one word"),
        (&["GET", "https://a/", "--header", "nonsense"], "a header is written `Name: value`"),
        (&["GET", "https://a/", "--scope", "x"], "--level"),
        (&["GET", "https://a/", "--level", "4"], "0..=3"),
        (
            &["GET", "https://a/", "--level", "1", "--header", "Authorization: Bearer x"],
            "leave the Authorization header out",
        ),
        (&["GET", "https://a/", "--token-file", "absent"], "absent: "),
    ] {
        let (text, exit) = explained(dir.path(), arguments);
        assert!(exit == 2 && text.contains(why), "{arguments:?}: {exit} {text}");
    }
}

/// Nothing is forwarded there: what is explained is the answer that the agency's own proxy gets.
#[test]
fn an_agency_that_is_only_asked_about_is_explained_as_its_proxy_hears_it() {
    let dir = directory(NOWHERE, "");
    let file = dir.path().join("routes.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let old = "city: { endpoints: [http://127.0.0.1:9], health: { path: / }, identity: headers }";
    assert!(text.contains(old));
    std::fs::write(&file, text.replace(old, "city: { identity: headers, verify: { from: [10.0.0.5] } }")).unwrap();
    let (said, code) = json_of(dir.path(), &["GET", "https://a.ir/profile", "--level", "2"]);
    assert_eq!((code, &said["decision"], &said["status"]), (0, &json!("forward"), &json!(200)));
    assert_eq!((&said["endpoints"], &said["target"]), (&json!([]), &json!(null)));
    assert_eq!(said["headers"]["x-gateway-level"], "2");
    assert!(said["answer"]["detail"].as_str().unwrap().contains("own proxy"));
    let (said, code) = json_of(dir.path(), &["GET", "https://a.ir/profile"]);
    assert_eq!((code, &said["code"]), (3, &json!("token_missing")));
    let (human, _) = explained(dir.path(), &["GET", "https://a.ir/profile", "--level", "2"]);
    assert!(human.contains("200 to the agency's own proxy"), "{human}");
}
