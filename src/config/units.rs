//! Durations (`500ms`, `30s`, `15m`, `8h`, `30d`) and sizes (`512B`, `64KiB`, `1MiB`, `2GiB`) as an operator writes them.
//!
//! One whole number and one unit, nothing between, nothing else: `1.5h`, `1h30m`, `64KB` and a bare `30` are refused, since
//! readers disagree about them. The error is the remedy.

use std::time::Duration;

const DURATIONS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a duration. Errors: what to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    measure(text, &DURATIONS).map(Duration::from_millis).map_err(|wrong| match wrong {
        Wrong::NoUnit(number) => {
            format!("add a unit: `{number}ms`, `{number}s`, `{number}m`, `{number}h` or `{number}d`")
        }
        Wrong::TooLarge => "write a smaller number".to_owned(),
        Wrong::Form => "write one whole number and a unit (ms, s, m, h, d), like `500ms`, `30s` or `15m`".to_owned(),
    })
}

/// Reads a size in bytes. Errors: what to write instead.
pub fn size(text: &str) -> Result<u64, String> {
    measure(text, &SIZES).map_err(|wrong| match wrong {
        Wrong::NoUnit(number) => format!("add a unit: `{number}B`, `{number}KiB`, `{number}MiB` or `{number}GiB`"),
        Wrong::TooLarge => "write a smaller number".to_owned(),
        Wrong::Form => "write one whole number and a unit (B, KiB, MiB, GiB), like `64KiB` or `1MiB`".to_owned(),
    })
}

/// A duration in the largest unit that needs no fraction, as [`duration`] reads it.
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(millis, &DURATIONS, "s")
}

/// A size in the largest unit that needs no fraction, as [`size`] reads it.
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES, "B")
}

enum Wrong<'t> {
    NoUnit(&'t str),
    TooLarge,
    Form,
}

fn measure<'t>(text: &'t str, units: &[(&str, u64)]) -> Result<u64, Wrong<'t>> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(Wrong::Form);
    }
    if unit.is_empty() {
        return Err(Wrong::NoUnit(number));
    }
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(Wrong::Form)?;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)).ok_or(Wrong::TooLarge)
}

fn show(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    let fits = units.iter().rev().find(|(_, factor)| amount != 0 && amount.is_multiple_of(*factor));
    fits.map_or(format!("0{zero}"), |(unit, factor)| format!("{}{unit}", amount / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_read_as_the_contract_says() {
        let read = |text| duration(text).unwrap();
        assert_eq!(read("500ms"), Duration::from_millis(500));
        assert_eq!(read("30s"), Duration::from_secs(30));
        assert_eq!(read("15m"), Duration::from_secs(900));
        assert_eq!(read("8h"), Duration::from_secs(8 * 3600));
        assert_eq!(read("30d"), Duration::from_secs(30 * 86400));
    }

    #[test]
    fn sizes_read_as_the_contract_says() {
        assert_eq!((size("64KiB"), size("1MiB"), size("512B")), (Ok(65536), Ok(1 << 20), Ok(512)));
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        for bad in ["", "s", "1.5h", "1h30m", "-1s", "+1s", "1 s", "1S", "1min", "٣s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "KiB", "64KB", "64kib", "64k", "1.5MiB", "-1B", "18446744073709551615KiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!(duration("30").unwrap_err().contains("`30s`"));
        assert!(size("30").unwrap_err().contains("`30KiB`"));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0..u64::MAX / 2, bytes: u64) {
            prop_assert_eq!(duration(&show_duration(Duration::from_millis(millis))), Ok(Duration::from_millis(millis)));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn a_number_and_a_unit_is_their_product(n in 0..u32::MAX, unit in 0usize..5) {
            let (name, factor) = DURATIONS[unit];
            prop_assert_eq!(duration(&format!("{n}{name}")), Ok(Duration::from_millis(u64::from(n) * factor)));
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _ = (duration(&text), size(&text));
        }
    }
}
