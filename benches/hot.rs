//! Each hot piece of a request by itself: what `counts.rs` counts the instructions of, in time.

mod pieces;

use criterion::{Criterion, criterion_group, criterion_main};
use pieces::PIECES;

fn hot(c: &mut Criterion) {
    for piece in &PIECES {
        piece.with(|mut work| {
            c.bench_function(piece.name, |b| b.iter(&mut work));
        });
    }
}

criterion_group!(benches, hot);
criterion_main!(benches);
