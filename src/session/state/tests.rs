use super::*;
use crate::config::defaults;

const NOW: UnixTime = 1_800_000_000;
const HOUR: i64 = 3600;

fn limits() -> Limits {
    Limits::new(&defaults::SESSION_LEVELS)
}

fn session(level: Level) -> Session {
    let mut session = Session::new(Arc::from("sso"), "0012345678".to_owned(), NOW);
    session.reach(level, "urn:loa", Some(NOW - 5), NOW);
    session
}

/// AS-8: 1 h, then 12 h, then 30 d; below a level that expired comes the next.
#[test]
fn a_level_that_expired_gives_way_to_the_one_below() {
    let mut session = session(Level::THREE);
    for (at, level) in [
        (HOUR - 1, Level::THREE),
        (HOUR, Level::TWO),
        (12 * HOUR - 1, Level::TWO),
        (12 * HOUR, Level::ONE),
        (30 * 24 * HOUR - 1, Level::ONE),
        (30 * 24 * HOUR, Level::NONE),
    ] {
        session.seen = NOW + at;
        assert_eq!(session.level_at(&limits(), NOW + at), level, "after {at} s");
    }
}

/// AS-8: 15 and 30 minutes without use; level 1 has no such limit.
#[test]
fn a_level_that_is_not_used_gives_way_and_does_not_come_back() {
    let mut session = session(Level::THREE);
    assert_eq!(session.level_at(&limits(), NOW + 899), Level::THREE);
    assert_eq!(session.level_at(&limits(), NOW + 900), Level::TWO);
    assert_eq!(session.level_at(&limits(), NOW + 1800), Level::ONE);
    session.touch(&limits(), NOW + 900);
    assert_eq!(session.level_at(&limits(), NOW + 901), Level::TWO);
    assert_eq!(session.level_at(&limits(), NOW + 2699), Level::TWO, "its own clock began anew");
    assert_eq!(session.end(&limits()), NOW + 30 * 24 * HOUR);
}

#[test]
fn a_step_up_reaches_what_is_below_too_and_a_lower_login_takes_nothing_away() {
    let mut session = session(Level::ONE);
    session.reach(Level::TWO, "urn:loa2", Some(NOW + 90), NOW + 100);
    assert_eq!(session.auth_time_for(Level::ONE), Some(NOW + 90));
    session.reach(Level::ONE, "urn:loa1", Some(NOW + 190), NOW + 200);
    assert_eq!(session.level_at(&limits(), NOW + 200), Level::TWO);
    assert_eq!(
        (session.auth_time_for(Level::TWO), session.auth_time_for(Level::ONE)),
        (Some(NOW + 90), Some(NOW + 190))
    );
    assert_eq!(session.auth_time_for(Level::THREE), None);
}

/// PV-4
#[test]
fn debug_output_shows_nothing_an_sso_said() {
    let mut session = session(Level::TWO);
    session.name = Some("Zahra".to_owned());
    session.tokens.id = Some(Secret::new("eyJ".to_owned()));
    let shown = format!("{session:?} {:?} {:?}", session.tokens, session.standing(Level::ONE));
    assert!(!["0012345678", "Zahra", "eyJ", "urn:loa"].iter().any(|said| shown.contains(said)), "{shown}");
}
