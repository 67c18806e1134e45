//! PV-5: words planted wherever a caller can put one, through success and every refusal; none of them appears in any log,
//! metric, page, problem or admin answer.

use crate::support::agency::{Agency, ByHand};
use crate::support::client::{H2, bearer, connect, get, h2_get, post, request, send};
use crate::support::sso::keys;
use crate::support::token::{now, token, unique};
use crate::support::world::standard;

/// What was planted, and what the gateway said back.
#[derive(Default)]
struct Garden {
    planted: Vec<String>,
    said: Vec<String>,
}

impl Garden {
    fn plant(&mut self, what: &str) -> String {
        let word = unique(what);
        self.planted.push(word.clone());
        word
    }

    /// A token with planted claims; the token itself is planted too.
    fn token(&mut self, make: impl Fn(crate::support::token::Token) -> crate::support::token::Token) -> String {
        let subject = self.plant("subject");
        let code = self.plant("0012345679");
        let name = self.plant("name");
        let made = make(
            token(2)
                .subject(&subject)
                .claim("nationalCode", code)
                .claim("name", name)
                .claim("phone_number", "+989121234567"),
        )
        .sign();
        self.planted.extend(made.split('.').skip(1).map(str::to_owned));
        made
    }
}

#[tokio::test]
async fn pv5_nothing_that_a_caller_sends_is_ever_written_down() {
    let agency = Agency::hello().await;
    let by_hand = ByHand::start().await;
    let dead = ByHand::start().await;
    let dead_url = dead.url();
    drop(dead);
    let gateway = standard(&agency.url())
        .agency_with("slow", &by_hand.url(), "timeouts: { response: 300ms }")
        .agency("dead", &dead_url)
        .simple("slow", "slow", 0)
        .simple("dead", "dead", 0)
        .route("name: scoped, agency: registry, match: { prefix: /scoped }, require: { level: 2, scopes: [x] }")
        .route("name: fresh, agency: registry, match: { prefix: /fresh }, require: { level: 2, max_age: 1m }")
        .route("name: small, agency: registry, match: { path: /small, methods: [POST] }, require: { level: 0 }, limits: { body: 4B }")
        .start()
        .await;
    let mut garden = Garden { planted: vec!["+989121234567".to_owned(), "0012345679".to_owned()], said: Vec::new() };

    let tokens = [
        garden.token(|t| t),
        garden.token(|t| t.claim("acr", "urn:example:level:1")),
        garden.token(|t| t.claim("exp", now() - 1000)),
        garden.token(|t| t.secretly_by(&keys().stranger)),
        garden.token(|t| t.header("kid", "nobody-knows-it")),
        garden.token(|t| t.claim("iss", "https://elsewhere.example.ir")),
        garden.token(|t| t.claim("acr", "0012345679")),
        garden.token(|t| t.authenticated(4000)),
    ];
    let routes = ["/l1", "/l3", "/scoped", "/fresh", "/open", "/nowhere", "/dead", "/slow"];
    for (n, token) in tokens.iter().enumerate() {
        for route in routes.iter().filter(|r| n == 0 || !matches!(**r, "/slow" | "/dead")) {
            let query = garden.plant("query");
            let segment = garden.plant("segment");
            let cookie = garden.plant("cookie");
            let agent = garden.plant("agent");
            let fields = [bearer(token), format!("Cookie: sid={cookie}"), format!("User-Agent: {agent}")];
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let answer = send(&gateway, get(&format!("{route}/{segment}?nationalCode={query}"), &fields)).await;
            garden.said.push(answer.text() + &format!("{:?}", answer.head.fields));
        }
    }
    // Broken in every other way that is answered.
    let word = garden.plant("broken");
    let broken = [
        get(&format!("/a/../{word}"), &[]),
        get(&format!("/open/{word}%2f"), &[]),
        format!("GET /open/{word} HTTP/1.1\r\nHost: {word}/x\r\n\r\n"),
        format!("GET /open HTTP/1.1\r\nHost: api.example.ir\r\n{word} : x\r\n\r\n"),
        format!("GET /open HTTP/1.1\r\nHost: api.example.ir\r\nX: {word}\r\n folded\r\n\r\n"),
        request("POST", "/open", &["Content-Length: 5", "Transfer-Encoding: chunked", &format!("X: {word}")]),
        request(&word.to_ascii_uppercase(), "/small", &[]),
        format!("GET /{word} HTTP/1.1\r\nHost: {word}.example.ir\r\n\r\n"),
        post("/small", &[], &word),
        get(&format!("/open/{}", word.repeat(500)), &[]),
        get("/open", &[&format!("X: {}", word.repeat(2000))]),
        get("/l1", &[&format!("Authorization: {word} x")]),
        get("/l1", &[&format!("Authorization: Bearer {word} x")]),
        get("/l1", &[&format!("Authorization: Bearer {word}.{word}.{word}")]),
        get(&format!("/l1?access_token={word}"), &[]),
        get("/open", &[&format!("Expect: {word}")]),
        get(&format!("/l1/{word}"), &["Accept: text/html", &format!("Accept-Language: {word}")]),
        post("/l1", &["Content-Type: text/xml", &format!("SOAPAction: \"{word}\"")], &format!("<x>{word}</x>")),
    ];
    for text in broken {
        let answer = send(&gateway, text).await;
        garden.said.push(answer.text() + &format!("{:?}", answer.head.fields));
    }
    // A body that never ends, and a caller that leaves.
    let mut leaving = connect(&gateway).await;
    leaving.send(request("POST", "/open", &["Content-Length: 1000"]) + &word).await.expect("open");
    leaving.reset();
    let h2 = H2::connect(&gateway).await;
    let over_h2 = h2_get(&format!("/l1/{word}?{word}")).header("x", &word).body(()).expect("good parts");
    garden.said.push(format!("{:?}", h2.request(over_h2, b"").await));
    drop(h2);

    for page in ["/metrics", "/config", "/agencies", "/readyz"] {
        garden.said.push(gateway.admin("GET", page).await.text());
    }
    assert!(gateway.stop().await.success());
    garden.said.push(gateway.output());

    // The agency may well have repeated nothing, but it has seen some: the words did travel.
    assert!(agency.seen().iter().any(|r| r.head.target().contains("query-")));
    let said = garden.said.join("\n").to_ascii_lowercase();
    let leaked: Vec<_> = garden.planted.iter().filter(|w| said.contains(&w.to_ascii_lowercase())).collect();
    assert!(leaked.is_empty(), "written down: {leaked:?}");
}
