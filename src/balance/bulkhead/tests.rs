use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::model::AgencyLimits;

const LONG: Duration = Duration::from_secs(3600);

fn entrance(concurrent: u32, queue: u32, queue_time: Duration) -> Rc<Entrance> {
    let mut agency = AgencyLive::plain("a".into(), Vec::new());
    agency.limits = AgencyLimits { concurrent, queue, queue_time, connections: 2, adaptive: false };
    Rc::new(Entrance { agency: Arc::new(agency), ledger: Rc::default() })
}

#[tokio::test]
async fn what_is_over_the_limit_waits_in_its_order() {
    let door = entrance(1, 2, LONG);
    let first = door.enter(LONG).await.ok().unwrap();
    assert!(door.enter_now().is_none());
    let order = std::cell::RefCell::new(Vec::new());
    let wait = async |n: u32| {
        let slot = door.enter(LONG).await.ok();
        order.borrow_mut().push((n, slot.is_some()));
        drop(slot);
    };
    let rest = async {
        assert_eq!(door.agency.bulkhead.queued(), 2);
        assert_eq!(door.enter(LONG).await.err(), Some(Full::Queue));
        drop(first);
    };
    tokio::join!(wait(1), wait(2), rest);
    assert_eq!(*order.borrow(), [(1, true), (2, true)]);
    let bulkhead = &door.agency.bulkhead;
    assert_eq!((bulkhead.under_way(), bulkhead.queued(), bulkhead.turned_away(Full::Queue)), (0, 0, 1));
}

#[tokio::test]
async fn who_waited_too_long_or_left_takes_no_place() {
    let door = entrance(1, 8, Duration::from_millis(5));
    let first = door.enter(LONG).await.ok().unwrap();
    assert_eq!(door.enter(LONG).await.err(), Some(Full::QueueTime));
    assert_eq!(door.enter(Duration::ZERO).await.err(), Some(Full::QueueTime));
    assert_eq!(door.agency.bulkhead.queued(), 0);
    // Granted, and gone before it could look.
    let slow = entrance(1, 8, LONG);
    let held = slow.enter(LONG).await.ok().unwrap();
    let waiting = slow.agency.bulkhead.join(1, 8).unwrap();
    drop(held);
    assert_eq!((slow.agency.bulkhead.under_way(), slow.agency.bulkhead.queued()), (1, 0));
    drop(waiting);
    assert_eq!(slow.agency.bulkhead.under_way(), 0);
    drop(first);
    assert_eq!(door.agency.bulkhead.under_way(), 0);
}

/// Workers are threads: a place that one gives back wakes whoever waits in another.
#[test]
fn places_cross_threads_and_none_is_lost() {
    let mut agency = AgencyLive::plain("a".into(), Vec::new());
    agency.limits = AgencyLimits { concurrent: 3, queue: 1000, queue_time: LONG, connections: 2, adaptive: false };
    let agency = Arc::new(agency);
    let most = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let worker = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let door = Rc::new(Entrance { agency: agency.clone(), ledger: Rc::default() });
                let one = async || {
                    for _ in 0..50 {
                        let _slot = door.enter(LONG).await.ok().unwrap();
                        most.fetch_max(agency.bulkhead.under_way(), SeqCst);
                        tokio::task::yield_now().await;
                    }
                };
                runtime.block_on(async { tokio::join!(one(), one(), one(), one()) });
            };
            scope.spawn(worker);
        }
    });
    assert!(most.into_inner() <= 3);
    assert_eq!((agency.bulkhead.under_way(), agency.bulkhead.queued()), (0, 0));
}

#[test]
fn connections_are_counted_until_they_are_dropped() {
    let door = entrance(1, 0, LONG);
    let (one, two) = (door.open(), door.open());
    assert!(one.is_some() && two.is_some() && door.open().is_none());
    drop(one);
    assert!(door.open().is_some());
    assert_eq!(door.agency.bulkhead.connections(), 1);
}

#[test]
fn it_settles_once_half_is_free_for_a_while() {
    let door = entrance(4, 0, LONG);
    door.agency.note_full();
    let now = moment::now();
    door.agency.settle_at(now);
    assert!(door.agency.bulkhead.is_saturated(), "just now it was full");
    door.agency.settle_at(now + 2000);
    assert!(!door.agency.bulkhead.is_saturated());
}
