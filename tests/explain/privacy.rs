//! What is explained may end up in a ticket: nothing personal is in it (PV-4), and explaining leaves no trace.

use std::fs;

use super::support::*;

/// PV-4
#[test]
fn neither_token_nor_claims_nor_query_values_are_shown() {
    let dir = directory(NOWHERE, "");
    let claims = with(with(with(claims(3), "sub", "canary-sub"), "client_id", "canary-client"), "jti", "canary-jti");
    let token = sign(&KEY, &with(claims, "scope", "insurance.read canary-scope"));
    fs::write(dir.path().join("token"), &token).unwrap();
    for path in ["insurance/x", "profile", "account", "news"] {
        let url = format!("https://api.example.ir/{path}?code=canary-query");
        for format in ["human", "json"] {
            let arguments = [
                "GET",
                &url,
                "--token-file",
                "token",
                "--format",
                format,
                "--header",
                "Cookie: a=canary-cookie",
                "--header",
                "X-National-Code: canary-header",
                "--header",
                "Referer: https://a/canary-referer",
            ];
            let (text, exit) = explained(dir.path(), &arguments);
            assert_eq!(exit, 0, "{text}");
            assert!(!text.contains("canary") && token.split('.').all(|part| !text.contains(part)), "{text}");
        }
    }
}

#[test]
fn what_the_agency_would_see_is_named_and_masked() {
    let dir = directory(NOWHERE, "");
    fs::write(dir.path().join("token"), token(3)).unwrap();
    let headers = |path: &str| {
        let url = format!("https://api.example.ir/{path}");
        let spoofed = ["--header", "X-Gateway-Level: 3", "--header", "x_gateway_subject: me"];
        json_of(dir.path(), &[&["GET", &url, "--token-file", "token"][..], &spoofed].concat()).0["headers"].clone()
    };
    let assertion = headers("insurance/x");
    assert_eq!(assertion["x-gateway-assertion"], "<signed: iss, aud, sub, acr, level, auth_time, jti, iat, exp>");
    assert!(assertion["authorization"].is_null() && assertion["x_gateway_subject"].is_null());
    let plain = headers("profile");
    assert_eq!((&plain["x-gateway-subject"], &plain["x-gateway-level"]), (&"<masked>".into(), &"3".into()));
    assert_eq!(headers("account")["authorization"], "<masked>");
    // Level 0: credentials are not forwarded, whatever they are.
    let open = headers("news");
    assert!(open["authorization"].is_null() && open["x-gateway-subject"].is_null());
    assert_eq!(open["x-gateway-level"], "0");
}

#[test]
fn explaining_writes_nothing() {
    let dir = directory(NOWHERE, "");
    explained(dir.path(), &["GET", "https://api.example.ir/insurance/x", "--level", "2", "--scope", "insurance.read"]);
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["jwks.json", "routes.yaml"]);
}
