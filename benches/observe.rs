//! What counting and logging add to a request: the calls of `pipeline` for one that passes, with the log off and on. The
//! writer's thread is not in it; `benches/curves log` weighs the whole process.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use darvazeh::observe::access_log::LogBuffer;
use darvazeh::observe::record::Books;
use darvazeh::observe::{Names, Record, Tally};
use darvazeh::words::{Level, RequestId};

fn observe(c: &mut Criterion) {
    let names = Names::default();
    let agency: Arc<str> = "agency".into();
    let lease = Rc::new(names.lease((0..100).map(|n| (Arc::from(format!("route-{n}")), agency.clone()))));
    let stat = lease[50];
    let mut group = c.benchmark_group("a request counted");
    for (name, on) in [("log off", false), ("log on", true)] {
        let (sender, receiver) = sync_channel(256);
        std::thread::spawn(move || receiver.iter().for_each(drop));
        let books = Books { tally: Rc::new(Tally::default()), log: Rc::new(LogBuffer::new(sender, on)) };
        group.bench_function(name, |b| {
            b.iter(|| {
                let begun = black_box(Instant::now());
                let record = Record::begin(&books, stat, 0, RequestId::from_bits(7), begun);
                let mut record = record.holding(lease.clone());
                books.tally.decided(stat, None);
                record.level = Level::TWO;
                books.tally.upstream(&agency, Duration::from_micros(black_box(300)));
                record.status = black_box(200);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, observe);
criterion_main!(benches);
