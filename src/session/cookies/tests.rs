use proptest::prelude::*;

use super::*;

fn jar() -> Jar {
    Jar::new(Arc::from("__Host-darvazeh"))
}

fn request(fields: &[&str]) -> Fields {
    fields.iter().map(|field| (header::COOKIE, HeaderValue::from_str(field).unwrap())).collect()
}

fn left(fields: &[&str]) -> Vec<String> {
    let mut headers = request(fields);
    jar().strip_request(&mut headers);
    headers.get_all(header::COOKIE).map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// BF-6
#[test]
fn our_cookies_go_and_the_rest_keeps_its_bytes() {
    assert_eq!(left(&["a=1; __Host-darvazeh=x; b=2"]), ["a=1; b=2"]);
    assert_eq!(left(&["__Host-darvazeh=x; b=\"2 \" ;c"]), ["b=\"2 \" ;c"]);
    assert_eq!(left(&["a=1;  b = 2 ; __Host-darvazeh.1=x"]), ["a=1;  b = 2 "]);
    assert_eq!(left(&["__Host-darvazeh=x", "a=1"]), ["a=1"]);
    assert_eq!(left(&["__Host-darvazeh=x; __Host-darvazeh.1=y; __Host-darvazeh.99999999999999999999=z"]), [""; 0]);
    assert_eq!(left(&[" __Host-darvazeh =x;a=__Host-darvazeh"]), ["a=__Host-darvazeh"]);
    let others = "__Host-darvazehx=1; __host-darvazeh_x=2; x__Host-darvazeh=3;;  ;=";
    assert_eq!(left(&[others]), [others], "not ours");
}

#[test]
fn an_agency_cannot_set_or_clear_our_cookies() {
    let mut headers = Fields::new();
    for value in ["a=1; Path=/", "__Host-darvazeh=evil; Secure; Path=/", "__Host-darvazeh.1=; Max-Age=0", "b=2"] {
        headers.append(header::SET_COOKIE, HeaderValue::from_static(value));
    }
    jar().strip_answer(&mut headers);
    let left: Vec<_> = headers.get_all(header::SET_COOKIE).collect();
    assert_eq!(left, ["a=1; Path=/", "b=2"]);
}

/// BF-2
#[test]
fn the_cookie_is_for_this_host_over_tls_and_not_for_scripts() {
    let set = jar().set("v", None).unwrap();
    assert_eq!(set.values(), ["__Host-darvazeh=v; Path=/; Secure; HttpOnly; SameSite=Lax"]);
    assert!(!format!("{set:?} {:?}", set.values()).contains("=v"), "never printed");
}

#[test]
fn a_large_value_takes_several_cookies_and_clears_those_it_needs_no_more() {
    let (jar, value) = (jar(), "x".repeat(2 * CHUNK + 1));
    let set = jar.set(&value, None).unwrap();
    assert_eq!(set.values().len(), 3);
    assert!(set.values().iter().all(|value| value.len() <= 4096));
    let pairs: Vec<&str> = set.values().iter().map(|v| v.to_str().unwrap().split(';').next().unwrap()).collect();
    let headers = request(&[&pairs.join("; ")]);
    assert_eq!([&[jar.first(&headers).unwrap()], jar.rest(&headers).as_slice()].concat().concat(), value.as_bytes());
    let smaller = jar.set("v", Some(&headers)).unwrap();
    let cleared: Vec<_> = smaller.values()[1..].iter().map(|v| v.to_str().unwrap().to_owned()).collect();
    assert!(cleared[0].starts_with("__Host-darvazeh.1=; ") && cleared[1].starts_with("__Host-darvazeh.2=; "));
    assert!(cleared.iter().all(|value| value.ends_with("; Max-Age=0")));
    assert_eq!(jar.clear(&headers).values().len(), 3);
    assert!(jar.set(&"x".repeat(CHUNKS * CHUNK + 1), None).is_none());
}

proptest! {
    #[test]
    fn stripping_never_panics_and_leaves_nothing_of_ours(field in "[ -~]{0,80}", at in 0usize..80) {
        let mut field = field;
        if let Some((place, _)) = field.char_indices().nth(at) {
            field.insert_str(place, "; __Host-darvazeh=secret;");
        }
        prop_assert!(left(&[&field]).iter().all(|value| !value.contains("__Host-darvazeh=secret")
            || field.matches("secret").count() > 1));
    }
}
