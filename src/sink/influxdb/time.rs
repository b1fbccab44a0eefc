//! The time of a point, such that no two points of a series share one: InfluxDB keeps the last of those that do.

use crate::record::{Identity, Received, Text};

/// Decimal digits of a second that a point's time has.
const DIGITS: u8 = 9;

/// Nanoseconds since 1970 of the point that stores `received`; the same at each attempt.
///
/// Without a timestamp of the client this is the nanosecond at which its bytes were read, which no other byte of
/// its source has. With one, the digits that the client did not send are filled: from the place of the value among
/// all bytes dispatched, or from the client's id, so that a report sent twice under one id is one point.
pub(super) fn of(received: &Received<'_>) -> i64 {
    let Some(sent) = received.record.timestamp else {
        return received.time;
    };
    let room = 10_u64.pow(u32::from(DIGITS.saturating_sub(sent.digits)));
    let filler = match received.identity {
        Identity::Client(id) => hash(id),
        Identity::Own(_) => received.position,
    };
    // At most nine digits: both casts are exact. The last second that can be sent has room for all of them.
    sent.nanos - sent.nanos % room as i64 + (filler % room) as i64
}

/// FNV-1a of 64 bits over the id as it reads, and `splitmix64`'s last step, since FNV leaves the low digits of
/// similar ids similar. Points are found again by it: it never changes.
fn hash(id: Text<'_>) -> u64 {
    let fnv = id.decode().bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::record::{Form, Host, Kind, LineId, Number, OwnId, Record, Timestamp, Value};

    fn received(timestamp: Option<(i64, u8)>, position: u64, id: Option<Text<'static>>) -> Received<'static> {
        let mut record = Record::new(Kind::Counter, Text::plain(b"n"), Value::Number(Number::Int(1), b"1"));
        record.timestamp = timestamp.map(|(nanos, digits)| Timestamp { nanos, digits });
        let own = Identity::Own(OwnId { line: LineId::Origin("o"), index: 0 });
        Received {
            record,
            identity: id.map_or(own, Identity::Client),
            time: timestamp.map_or(77, |(nanos, _)| nanos),
            host: Host::Named("h"),
            position,
            source: "s",
        }
    }

    #[test]
    fn without_a_timestamp_it_is_the_time_of_the_read() {
        assert_eq!(of(&received(None, 5, None)), 77);
    }

    #[test]
    fn the_digits_that_were_not_sent_are_the_position() {
        assert_eq!(of(&received(Some((3_000_000_000, 0)), 1_234, None)), 3_000_001_234);
        assert_eq!(of(&received(Some((3_000_000_000, 0)), 12_345_678_901, None)), 3_345_678_901);
        assert_eq!(of(&received(Some((3_123_000_000, 3)), 1_234_567, None)), 3_123_234_567);
        assert_eq!(of(&received(Some((3_123_456_789, 9)), 1_234_567, None)), 3_123_456_789);
    }

    #[test]
    fn the_last_second_that_can_be_sent_does_not_overflow() {
        let last = 9_223_372_035_000_000_000;
        assert_eq!(of(&received(Some((last, 0)), 999_999_999, None)), last + 999_999_999);
    }

    #[test]
    fn a_client_id_gives_the_same_time_wherever_it_stands_and_however_it_is_spelled() {
        let at = |position, raw, form| of(&received(Some((0, 0)), position, Some(Text { raw, form })));
        assert_eq!(at(1, b"id", Form::Plain), at(2, br"\u0069d", Form::Json));
        // A fixture: a later version that hashes otherwise would store repeats twice.
        assert_eq!(at(1, b"id", Form::Plain), 864_004_218);
    }

    #[test]
    fn ids_that_differ_in_one_digit_rarely_meet() {
        let ids: Vec<&'static str> = (0..10_000).map(|n| &*format!("order-{n}").leak()).collect();
        let times: HashSet<i64> =
            ids.iter().map(|id| of(&received(Some((0, 0)), 1, Some(Text::plain(id.as_bytes()))))).collect();
        // 10 000 of 10^9: one pair in twenty such sets.
        assert!(times.len() >= 9_999, "{} of 10000", times.len());
    }
}
