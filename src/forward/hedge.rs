//! A read that one endpoint is slow to answer is asked of another too (`hedge` of an agency). The first good answer wins, and
//! the other exchange is broken off. It costs one retry of the agency's budget; called by `deliver`.

use std::pin::pin;
use std::time::Duration;

use super::deadline::Deadline;
use super::deliver::{Kept, Reply, note, place_for_retry};
use super::exchange::{Attempt, Ended};
use crate::balance::{AgencyPools, Picked, Slot, Spent};
use crate::body::Body;
use crate::message::Interim;

type Tried = Result<Reply, Ended>;

/// Runs `first` at `picked`, and after `after` the same at another endpoint, if there is one and the agency can bear it.
pub async fn race(
    first: Attempt<'_>,
    picked: Picked<'_>,
    slot: Slot,
    after: Duration,
    deadline: Deadline,
    kept: &mut Kept,
) -> Tried {
    let tried = kept.tried;
    let pools = first.pools;
    let ledger = &pools.entrance.ledger;
    let mut one = pin!(first.run(picked.pool, slot, kept));
    if let Ok(ended) = tokio::time::timeout(after, &mut one).await {
        note(picked, &ended, first.took());
        return ended;
    }
    let Some((other, place)) = other(pools, first.prepared.subject, tried, deadline) else {
        let ended = one.await;
        note(picked, &ended, first.took());
        return ended;
    };
    // The second says nothing on the way: hints of an answer that may never be passed on are worse than none.
    let quiet = Interim::none();
    let second = Attempt::new(pools, first.prepared, &quiet, deadline.left());
    let mut its_own = Kept { body: Some(Body::Empty), replayed: true, tried };
    let mut two = pin!(second.run(other.pool, place, &mut its_own));
    let won = |won: bool| ledger.count(if won { Spent::HedgeWon } else { Spent::HedgeLost });
    tokio::select! {
        biased;
        ended = &mut one => {
            note(picked, &ended, first.took());
            if is_good(&ended) {
                won(false);
                return ended;
            }
            let last = two.await;
            note(other, &last, first.took());
            won(last.is_ok());
            if last.is_ok() { last } else { ended }
        }
        ended = &mut two => {
            // What the caller waited is what counts: else only quick answers would be seen, and hedges come ever sooner.
            note(other, &ended, first.took());
            if is_good(&ended) {
                won(true);
                return ended;
            }
            won(false);
            let last = one.await;
            note(picked, &last, first.took());
            if last.is_ok() || ended.is_err() { last } else { ended }
        }
    }
}

/// A broken endpoint answers soonest of all: its error waits for what the other says.
fn is_good(ended: &Tried) -> bool {
    ended.as_ref().is_ok_and(|reply| !reply.status.is_server_error())
}

/// Where the second goes: never to the same endpoint.
fn other(pools: &AgencyPools, subject: Option<u64>, tried: u64, deadline: Deadline) -> Option<(Picked<'_>, Slot)> {
    let place = place_for_retry(pools, tried, deadline, Spent::HedgeNoBudget)?;
    // An endpoint without a bit cannot be told from the first.
    let other = pools.pick(subject, tried | pools.shy_of_retries()).filter(|other| other.bit() != 0);
    if other.is_none() {
        pools.entrance.ledger.refund();
    }
    Some((other?, place))
}
