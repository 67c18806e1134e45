//! What changes in who may vouch for callers, and how far: the issuers.

use std::fs;
use std::time::Duration;

use super::change::{Change, Kind};
use super::operation::place;
use super::pairs::Pairs;
use super::trust;
use crate::config::Config;
use crate::config::model::{Issuer, JwksSource};
use crate::config::units::show_duration;
use crate::words::Level;

pub fn compare(old: &Config, new: &Config, pairs: &Pairs, changes: &mut Vec<Change>) {
    for (before, after) in pairs.issuers.both() {
        let first = changes.len();
        let (before, after) = (&old.issuers[before], &new.issuers[after]);
        tokens(before, after, changes);
        levels(before, after, changes);
        keys(old, new, before, after, changes);
        client(before, after, changes);
        name(&mut changes[first..], after);
    }
    for place in pairs.issuers.added() {
        let issuer = &new.issuers[place];
        let first = changes.len();
        changes.push(Change::neutral(Kind::IssuerAdded, format!("appears: {}", issuer.issuer)).to(&*issuer.name));
        name(&mut changes[first..], issuer);
    }
    for place in pairs.issuers.removed() {
        let issuer = &old.issuers[place];
        let first = changes.len();
        let phrase = format!("vanishes: tokens of {} are refused", issuer.issuer);
        changes.push(Change::refusing(Kind::IssuerRemoved, phrase).from(&*issuer.name));
        name(&mut changes[first..], issuer);
    }
}

fn name(changes: &mut [Change], issuer: &Issuer) {
    for change in changes {
        change.about = format!("issuer `{}`", issuer.name);
        change.at = Some(issuer.at.clone());
    }
}

fn tokens(old: &Issuer, new: &Issuer, changes: &mut Vec<Change>) {
    if old.name != new.name {
        let phrase = format!("was called `{}`", old.name);
        changes.push(Change::neutral(Kind::IssuerRenamed, phrase).from(&*old.name).to(&*new.name));
    }
    if old.issuer != new.issuer {
        let phrase = format!("tokens of {} count, instead of {}", new.issuer, old.issuer);
        let mut change = Change::weaker(Kind::IssuerChanged, phrase).from(&*old.issuer).to(&*new.issuer);
        change.refuses = true;
        changes.push(change);
    }
    let algorithms = |issuer: &Issuer| issuer.algorithms.iter().map(|a| a.as_str().to_owned()).collect::<Vec<_>>();
    let lists = [
        ("audience", &old.audiences, &new.audiences, Kind::AudienceAdded, Kind::AudienceRemoved),
        ("algorithm", &algorithms(old), &algorithms(new), Kind::AlgorithmAdded, Kind::AlgorithmRemoved),
        ("token type", &old.token_types, &new.token_types, Kind::TokenTypeAdded, Kind::TokenTypeRemoved),
    ];
    for (thing, before, after, added, removed) in lists {
        for item in after.iter().filter(|item| !before.contains(item)) {
            changes.push(Change::weaker(added, format!("accepts {thing} {item} too")).to(&**item));
        }
        for item in before.iter().filter(|item| !after.contains(item)) {
            changes.push(Change::refusing(removed, format!("no longer accepts {thing} {item}")).from(&**item));
        }
    }
    if old.clock_skew != new.clock_skew {
        let (from, to) = (show_duration(old.clock_skew), show_duration(new.clock_skew));
        let phrase = format!("its clock may be off by {to} instead of {from}");
        let change = match old.clock_skew < new.clock_skew {
            true => Change::weaker(Kind::ClockSkewRaised, phrase),
            false => Change::refusing(Kind::ClockSkewLowered, phrase),
        };
        changes.push(change.from(from).to(to));
    }
}

fn levels(old: &Issuer, new: &Issuer, changes: &mut Vec<Change>) {
    if old.max_level != new.max_level {
        let (from, to) = (old.max_level, new.max_level);
        let phrase = format!("can give level {to} at most, instead of {from}");
        let change = match from < to {
            true => Change::weaker(Kind::MaxLevelRaised, phrase),
            false => Change::refusing(Kind::MaxLevelLowered, phrase),
        };
        changes.push(change.from(from.to_string()).to(to.to_string()));
    }
    if old.level_claim != new.level_claim {
        let (from, to) = (&old.level_claim, &new.level_claim);
        let phrase = format!("levels are read from the claim `{to}` instead of `{from}`");
        let mut change = Change::weaker(Kind::LevelClaimChanged, phrase).from(from).to(to);
        change.refuses = true;
        changes.push(change);
    }
    let given = |issuer: &Issuer, value: &str| {
        issuer.levels.iter().find(|(known, _)| known == value).map_or(Level::NONE, |(_, level)| *level)
    };
    let gone = old.levels.iter().filter(|(value, _)| !new.levels.iter().any(|(known, _)| known == value));
    for (value, _) in new.levels.iter().chain(gone) {
        let (from, to) = (given(old, value), given(new, value));
        let phrase = format!("the value `{value}` means level {to} instead of {from}");
        let change = match from.cmp(&to) {
            std::cmp::Ordering::Less => Change::weaker(Kind::LevelValueRaised, phrase),
            std::cmp::Ordering::Greater => Change::refusing(Kind::LevelValueLowered, phrase),
            std::cmp::Ordering::Equal => continue,
        };
        changes.push(change.from(from.to_string()).to(to.to_string()));
    }
}

fn keys(old: &Config, new: &Config, before: &Issuer, after: &Issuer, changes: &mut Vec<Change>) {
    let (from, to) = (source(before, old), source(after, new));
    if let (JwksSource::File(one), JwksSource::File(other)) = (&before.jwks, &after.jwks) {
        // `config::load` has read both; one that is gone since is not the same.
        let same = one == other || matches!((fs::read(one), fs::read(other)), (Ok(a), Ok(b)) if a == b);
        if !same {
            let phrase = format!("other keys are trusted: {to}");
            changes.push(Change::weaker(Kind::KeysChanged, phrase).from(from).to(to));
        }
    } else if from != to {
        let phrase = format!("keys come from {to} instead of {from}");
        changes.push(Change::weaker(Kind::KeysSourceChanged, phrase).from(from).to(to));
    }
    changes.extend(trust::roots("the place of the keys", before.fetch_roots.as_deref(), after.fetch_roots.as_deref()));
    let schedule = |issuer: &Issuer| -> [Duration; 2] { [issuer.refresh, issuer.keep_keys] };
    if schedule(before) != schedule(after) {
        let shown = |issuer: &Issuer| {
            let [refresh, keep] = schedule(issuer).map(show_duration);
            format!("every {refresh}, kept for {keep}")
        };
        let (from, to) = (shown(before), shown(after));
        let phrase = format!("keys are fetched {to}, instead of {from}");
        changes.push(Change::neutral(Kind::KeysScheduleChanged, phrase).from(from).to(to));
    }
}

/// The gateway as the SSO's client, and what it lets agencies know.
fn client(old: &Issuer, new: &Issuer, changes: &mut Vec<Change>) {
    let (before, after) = match (&old.client, &new.client) {
        (None, None) => return,
        (None, Some(client)) => {
            let phrase = format!("the gateway logs callers in as its client `{}`", client.id);
            return changes.push(Change::neutral(Kind::ClientAdded, phrase).to(&*client.id));
        }
        (Some(client), None) => {
            let phrase = format!("the gateway is no longer its client `{}`: nobody can log in", client.id);
            return changes.push(Change::refusing(Kind::ClientRemoved, phrase).from(&*client.id));
        }
        (Some(before), Some(after)) => (before, after),
    };
    for claim in after.claims.iter().filter(|claim| !before.claims.contains(claim)) {
        changes
            .push(Change::weaker(Kind::ClaimReleased, format!("agencies are told the claim `{claim}`")).to(&**claim));
    }
    for claim in before.claims.iter().filter(|claim| !after.claims.contains(claim)) {
        let phrase = format!("agencies are no longer told the claim `{claim}`");
        changes.push(Change::neutral(Kind::ClaimWithheld, phrase).from(&**claim));
    }
    let same = before.id == after.id
        && before.auth == after.auth
        && before.scopes == after.scopes
        && before.par == after.par
        && before.own_callback == after.own_callback
        && before.display_claim == after.display_claim
        && before.provider == after.provider;
    if !same {
        let phrase = "the way the gateway is its client changes".to_owned();
        changes.push(Change::neutral(Kind::ClientChanged, phrase).from(&*before.id).to(&*after.id));
    }
}

fn source(issuer: &Issuer, config: &Config) -> String {
    match &issuer.jwks {
        JwksSource::File(path) => place(path, config),
        JwksSource::Uri(uri) => uri.to_string(),
        JwksSource::Discovery(uri) => format!("discovery at {uri}"),
    }
}
