//! Numbers as digits, without the machinery of `format!`: every line of the log has five, every answer one, and every request
//! some ids.

/// More digits than a `u64` has.
const MOST: usize = 20;

/// `00` to `99`: two digits for one division.
const PAIRS: [[u8; 2]; 100] = table(10, b"0123456789");
const HEX: [[u8; 2]; 256] = table(16, b"0123456789abcdef");

const fn table<const N: usize>(base: usize, digits: &[u8]) -> [[u8; 2]; N] {
    let (mut pairs, mut n) = ([[0; 2]; N], 0);
    while n < N {
        pairs[n] = [digits[n / base], digits[n % base]];
        n += 1;
    }
    pairs
}

/// Two lower-case hexadecimal digits for each byte.
pub fn hex<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    bytes.map(|byte| HEX[usize::from(byte)])
}

/// The decimal digits of one number.
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
        while number >= 10 {
            from -= 2;
            text[from..from + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
            number /= 100;
        }
        if number > 0 {
            from -= 1;
            text[from] = b'0' + number as u8;
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
        let round = (0..20).map(|n| 10u64.pow(n)).flat_map(|n| [n - 1, n, n + 1, n / 5 * 9]);
        for number in round.chain(0..1100).chain([u64::from(u32::MAX), u64::MAX]) {
            assert_eq!(Digits::of(number).as_bytes(), number.to_string().as_bytes());
            assert_eq!(Digits::padded(number, 3).as_bytes(), format!("{number:03}").as_bytes());
        }
    }

    #[test]
    fn hexadecimal_is_in_lower_case() {
        assert_eq!(hex([0, 0x0f, 0xa0, 0xff]).as_flattened(), b"000fa0ff");
    }
}
