//! When two parts of two configs are the same: by what they mean, wherever they stand in the file. What is the same is carried
//! over by a reload. Every field is named, so that a new one cannot be forgotten.

use std::sync::Arc;

use super::{Agency, ClientTls, Issuer};
use crate::tls::certs::Identity;

impl PartialEq for Issuer {
    fn eq(&self, other: &Issuer) -> bool {
        let Issuer {
            at: _,
            name,
            issuer,
            audiences,
            jwks,
            fetch_roots,
            algorithms,
            token_types,
            clock_skew,
            max_level,
            level_claim,
            levels,
            refresh,
            keep_keys,
            client,
        } = self;
        *name == other.name
            && *issuer == other.issuer
            && *audiences == other.audiences
            && *jwks == other.jwks
            && same_roots(fetch_roots.as_ref(), other.fetch_roots.as_ref())
            && *algorithms == other.algorithms
            && *token_types == other.token_types
            && *clock_skew == other.clock_skew
            && *max_level == other.max_level
            && *level_claim == other.level_claim
            && *levels == other.levels
            && *refresh == other.refresh
            && *keep_keys == other.keep_keys
            && *client == other.client
    }
}

impl PartialEq for Agency {
    fn eq(&self, other: &Agency) -> bool {
        let Agency {
            at: _,
            name,
            title,
            scope,
            province,
            endpoints,
            tls,
            health,
            outlier,
            balance,
            timeouts,
            retry,
            hedge,
            limits,
            identity,
            team,
            verify,
        } = self;
        *name == other.name
            && *title == other.title
            && *scope == other.scope
            && *province == other.province
            && *endpoints == other.endpoints
            && *tls == other.tls
            && *health == other.health
            && *outlier == other.outlier
            && *balance == other.balance
            && *timeouts == other.timeouts
            && *retry == other.retry
            && *hedge == other.hedge
            && *limits == other.limits
            && *identity == other.identity
            && *team == other.team
            && *verify == other.verify
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &ClientTls) -> bool {
        let same_client = match (&self.client, &other.client) {
            (Some(one), Some(two)) => same_identity(one, two),
            (None, None) => true,
            _ => false,
        };
        same_client && self.server_name == other.server_name && same_roots(self.roots.as_ref(), other.roots.as_ref())
    }
}

pub(super) fn same_identity(one: &Identity, two: &Identity) -> bool {
    one.chain == two.chain && one.key.secret_der() == two.key.secret_der()
}

pub(super) fn same_roots(one: Option<&Arc<rustls::RootCertStore>>, two: Option<&Arc<rustls::RootCertStore>>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => one.roots == two.roots,
        (None, None) => true,
        _ => false,
    }
}
