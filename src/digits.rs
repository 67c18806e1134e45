//! Numbers as decimal digits, without the machinery of `format!`: every line of the log has five, every answer one.

/// More digits than a `u64` has.
const MOST: usize = 20;

/// The digits of one number.
#[derive(Clone, Copy, Debug)]
pub struct Digits {
    text: [u8; MOST],
    from: usize,
}

impl Digits {
    pub fn of(number: u64) -> Digits {
        Digits::padded(number, 1)
    }

    /// With zeros before it, to at least `width` digits.
    pub fn padded(mut number: u64, width: usize) -> Digits {
        let (mut text, mut from) = ([b'0'; MOST], MOST);
        while number > 0 {
            from -= 1;
            text[from] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        Digits { text, from: from.min(MOST.saturating_sub(width)) }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.text[self.from..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_format() {
        for number in [0, 1, 9, 10, 99, 100, 1_000_000, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(Digits::of(number).as_bytes(), number.to_string().as_bytes());
            assert_eq!(Digits::padded(number, 3).as_bytes(), format!("{number:03}").as_bytes());
        }
    }
}
