//! The `Date` of answers (RFC 9110 §6.6.1), formatted once a second.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;

use crate::clock::second_of_last_tick;

thread_local! {
    static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// The present second.
pub fn now() -> HeaderValue {
    let second = second_of_last_tick();
    LAST.with_borrow_mut(|(at, text)| {
        if *at != second {
            let formatted = HeaderValue::try_from(httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second)));
            (*at, *text) = (second, formatted.unwrap_or(HeaderValue::from_static("")));
        }
        text.clone()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_present_second() {
        // A whole second, and what the last tick is behind.
        let before = std::time::SystemTime::now() - std::time::Duration::from_millis(1100);
        let date = httpdate::parse_http_date(super::now().to_str().unwrap()).unwrap();
        assert!(date >= before && date <= std::time::SystemTime::now());
        assert!(super::now().len() == 29);
    }
}
