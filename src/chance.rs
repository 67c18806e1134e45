//! Random bits for request ids, trace ids and token ids: unguessable, and cheap because they are drawn in bulk.

use std::cell::RefCell;

const POOL: usize = 1024;

struct Pool {
    bytes: [u8; POOL],
    used: usize,
}

thread_local! {
    static BITS: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL], used: POOL }) };
}

/// 128 bits from the operating system's generator by way of AWS-LC. Each bit is given out once.
pub fn bits() -> u128 {
    BITS.with_borrow_mut(|pool| {
        if pool.used + 16 > POOL {
            aws_lc_rs::rand::fill(&mut pool.bytes).expect("the system has randomness");
            pool.used = 0;
        }
        let mut drawn = [0; 16];
        drawn.copy_from_slice(&pool.bytes[pool.used..pool.used + 16]);
        pool.bytes[pool.used..pool.used + 16].fill(0);
        pool.used += 16;
        u128::from_be_bytes(drawn)
    })
}

#[cfg(test)]
mod tests {
    use super::bits;
    use std::collections::HashSet;

    #[test]
    fn no_draw_comes_twice() {
        let drawn: HashSet<u128> = (0..1000).map(|_| bits()).collect();
        assert_eq!(drawn.len(), 1000);
        assert!(!drawn.contains(&0));
    }
}
