use super::*;
use crate::auth::jwk::KeySet;
use crate::auth::testing::*;
use crate::config::defaults;

const ENDS: UnixTime = NOW + 100;

struct Bench {
    cache: TokenCache,
    issuer: Arc<Issuer>,
    keys: KeySet,
    stats: Arc<CacheStats>,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(capacity: usize) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let issuer = issuer_in(directory.path());
        let text = jwks(&[ec_jwk(&EC, "ec")]);
        let (keys, _) = KeySet::parse(text.as_bytes(), &defaults::ALGORITHMS, None).unwrap();
        let stats = Arc::new(CacheStats::default());
        Bench { cache: TokenCache::new(capacity, stats.clone()), issuer, keys, stats, _directory: directory }
    }

    fn life(&self) -> Arc<KeyLife> {
        match self.keys.find(Some("ec"), crate::config::model::Algorithm::ES256) {
            crate::auth::jwk::Lookup::Found(key) => key.life().clone(),
            _ => panic!("the key is there"),
        }
    }

    /// As a request does: looks, and after a miss proves and keeps.
    fn ask(&self, token: &str) -> bool {
        match self.cache.look(token.as_bytes(), &self.issuer, NOW) {
            Looked::Hit(_) => true,
            Looked::Miss(hash) => {
                let proof = (&self.issuer, &self.life(), ENDS);
                self.cache.insert(hash, token.as_bytes(), Rc::new(verified(token)), proof);
                false
            }
        }
    }

    fn hits(&self, token: &str, now: UnixTime) -> bool {
        matches!(self.cache.look(token.as_bytes(), &self.issuer, now), Looked::Hit(_))
    }
}

fn counts(stats: &CacheStats) -> (u64, u64, u64) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    (read(&stats.hit), read(&stats.miss), read(&stats.stale))
}

#[tokio::test]
async fn a_token_is_found_by_all_of_its_text() {
    let bench = Bench::new(16);
    assert!(!bench.ask("a.b.c") && bench.ask("a.b.c"));
    assert!(!bench.hits("a.b.d", NOW) && !bench.hits("a.b.", NOW) && !bench.hits("a.b.cc", NOW));
    let [one, other] = ["one", "other"].map(|start| format!("{start}.{}", "x".repeat(2 * TELLING)));
    assert!(!bench.ask(&one) && bench.ask(&one) && !bench.hits(&other, NOW), "the same end is not the same token");
    match bench.cache.look(b"a.b.c", &bench.issuer, NOW) {
        Looked::Hit(found) => assert_eq!(found.subject, "a.b.c"),
        Looked::Miss(_) => panic!("it is kept"),
    }
    assert_eq!(counts(&bench.stats), (3, 6, 0));
}

/// Issue point 4: an entry dies with its `exp`, its key and its issuer
#[tokio::test]
async fn an_entry_dies_with_its_expiry_its_key_and_its_issuer() {
    let bench = Bench::new(16);
    bench.ask("a.b.c");
    assert!(bench.hits("a.b.c", ENDS - 1) && !bench.hits("a.b.c", ENDS));

    let directory = tempfile::tempdir().unwrap();
    let reloaded = issuer_in(directory.path());
    assert!(
        matches!(bench.cache.look(b"a.b.c", &reloaded, NOW), Looked::Miss(_)),
        "the issuer was changed by a reload"
    );

    assert!(bench.hits("a.b.c", NOW));
    bench.keys.end_all_but(None);
    assert!(!bench.hits("a.b.c", NOW), "the key was withdrawn");
    assert_eq!(counts(&bench.stats).2, 3);
}

#[tokio::test]
async fn a_stale_entry_is_replaced_in_its_place() {
    let bench = Bench::new(16);
    bench.ask("a.b.c");
    let Looked::Miss(hash) = bench.cache.look(b"a.b.c", &bench.issuer, ENDS) else { panic!("it is stale") };
    bench.cache.insert(hash, b"a.b.c", Rc::new(verified("new")), (&bench.issuer, &bench.life(), ENDS + 100));
    assert!(bench.hits("a.b.c", ENDS));
    let shelf = bench.cache.shelf.borrow();
    assert_eq!((shelf.entries.len(), shelf.small.len() + shelf.main.len()), (1, 1));
}

/// A flood of tokens that come once must not drive out those that come again
#[tokio::test]
async fn a_flood_of_one_time_tokens_leaves_the_regulars() {
    let bench = Bench::new(4096);
    let regulars: Vec<_> = (0..1000).map(|n| format!("regular.{n}")).collect();
    for _ in 0..3 {
        for token in &regulars {
            bench.ask(token);
        }
    }
    let mut missed = 0;
    for n in 0..100_000 {
        bench.ask(&format!("once.{n}"));
        if n % 10 == 0 {
            missed += usize::from(!bench.ask(&regulars[n / 10 % 1000]));
        }
    }
    assert_eq!(missed, 0, "of 10 000 requests of 1000 regulars, among a hundred times as many tokens that came once");
}

/// One who comes back after being pushed out of the small queue is a regular
#[tokio::test]
async fn regulars_settle_while_a_flood_is_going_on() {
    let bench = Bench::new(1000);
    let mut missed = 0;
    for n in 0..50_000 {
        bench.ask(&format!("once.{n}"));
        if n % 4 == 0 {
            missed += usize::from(!bench.ask(&format!("regular.{}", n / 4 % 300)));
        }
    }
    assert!(missed <= 900, "{missed} of 12 500");
}

#[tokio::test]
async fn tokens_and_bytes_are_bounded() {
    let bench = Bench::new(64);
    for n in 0..1000 {
        bench.ask(&format!("{}.{n}", "x".repeat(8000)));
        bench.ask(&format!("small.{n}"));
    }
    let shelf = bench.cache.shelf.borrow();
    assert!(shelf.entries.len() <= 64 && shelf.bytes <= 64 * BYTES_PER_TOKEN);
    assert_eq!(shelf.bytes, shelf.entries.iter().map(Entry::cost).sum::<usize>());
    assert_eq!(shelf.entries.len(), shelf.small.len() + shelf.main.len());
    assert!(shelf.ghosts.len() <= 64 && shelf.is_ghost.len() <= 64);
}

#[tokio::test]
async fn an_issuer_is_not_kept_alive_by_what_it_proved() {
    let mut bench = Bench::new(16);
    bench.ask("a.b.c");
    let directory = tempfile::tempdir().unwrap();
    let old = std::mem::replace(&mut bench.issuer, issuer_in(directory.path()));
    let weak = Arc::downgrade(&old);
    drop(old);
    until(|| weak.strong_count() == 0).await;
}
