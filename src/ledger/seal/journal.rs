//! Reads entries by time, by COPY in its binary form: nothing is formatted or parsed as text. Entries are stored by time, or
//! nearly so: to sort them costs the database little, and it reads its pages one after the other.

use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use thiserror::Error;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::ledger::seal::model::{JournalLine, LineAmounts};
use crate::ledger::seal::walk::{Walk, WalkOrderError};
use crate::types::amount::Amount;
use crate::types::time::Time;

/// Why entries could not be read and hashed.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The statement failed, or the connection was lost.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// The database sent something else than rows of the journal.
    #[error("the database sent entries that cannot be read")]
    Malformed,
    /// The rows did not come in their order.
    #[error(transparent)]
    Order(#[from] WalkOrderError),
}

/// Entries of a range of owners and of times.
#[derive(Clone, Copy, Debug)]
pub struct JournalRange {
    /// The first owner that belongs to the range.
    pub first: Uuid,
    /// The last owner that belongs to it.
    pub last: Uuid,
    /// The first time; none for all times before `end`.
    pub start: Option<Time>,
    /// The first time that does not belong to the range any more.
    pub end: Time,
}

/// The session's settings for reading: an index gives the range, whatever the statistics say of tables that have just grown.
pub const READ_SETTINGS: &str = "SET jit = off; SET work_mem = '64MB'; SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off";

/// The entries after which other tasks of the thread are let in.
const LINES_PER_TURN: u32 = 4_096;

/// Walks through the entries of a range.
///
/// # Errors
/// Any variant of [`JournalError`].
pub async fn read(
    client: &Client,
    range: &JournalRange,
    walk: &mut Walk,
) -> Result<(), JournalError> {
    let stream = client.copy_out(&copy_text(range)).await?;
    let mut stream = std::pin::pin!(stream);
    let mut has_header = false;
    let mut taken = 0;
    while let Some(bytes) = stream.try_next().await? {
        let mut rest = &bytes[..];
        if !has_header {
            skip_header(&mut rest).ok_or(JournalError::Malformed)?;
            has_header = true;
        }
        while !rest.is_empty() {
            let Some(line) = line(&mut rest).ok_or(JournalError::Malformed)? else {
                break;
            };
            walk.step(&line)?;
            taken += 1;
        }
        if taken >= LINES_PER_TURN {
            taken = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// COPY takes no parameters: what is inserted into the text are UUIDs and times.
fn copy_text(range: &JournalRange) -> String {
    let from = range
        .start
        .map_or(String::new(), |start| format!("AND time >= '{start}' "));
    format!(
        "COPY (\
             SELECT owner_id, account_id, unit, version, available_delta, held_delta, available, held, \
                    reservation_count, cause, cause_id, time \
             FROM entry WHERE owner_id BETWEEN '{}' AND '{}' {from}AND time < '{}' \
             ORDER BY time, version\
         ) TO STDOUT (FORMAT binary)",
        range.first, range.last, range.end
    )
}

/// The signature, the flags, and an extension that may follow them.
fn skip_header(rest: &mut &[u8]) -> Option<()> {
    let signature = take(rest, 11)?;
    if signature != b"PGCOPY\n\xff\r\n\0" {
        return None;
    }
    let _flags = take(rest, 4)?;
    let extension = i32::from_be_bytes(array(rest)?);
    take(rest, usize::try_from(extension).ok()?)?;
    Some(())
}

/// The next row; none at the end of all rows.
fn line<'a>(rest: &mut &'a [u8]) -> Option<Option<JournalLine<'a>>> {
    let count = i16::from_be_bytes(array(rest)?);
    if count == -1 {
        return Some(None);
    }
    if count != 12 {
        return None;
    }
    let owner = uuid(field(rest)?)?;
    let account = uuid(field(rest)?)?;
    let unit = text(field(rest)?)?;
    let version = number(field(rest)?)?;
    let amounts = [field(rest)?, field(rest)?, field(rest)?, field(rest)?];
    let reservation_count = number(field(rest)?)?;
    let cause = text(field(rest)?)?;
    let cause_id = uuid(field(rest)?)?;
    let time = number(field(rest)?)?;
    let [available_delta, held_delta, available, held] = amounts.map(amount);
    let amounts = match (available_delta, held_delta, available, held) {
        (Some(available_delta), Some(held_delta), Some(available), Some(held)) => {
            Some(LineAmounts {
                available_delta,
                held_delta,
                available,
                held,
            })
        }
        _ => None,
    };
    Some(Some(JournalLine {
        owner,
        account,
        unit,
        version,
        amounts,
        reservation_count,
        cause,
        cause_id,
        time: time.checked_add(EPOCH_MICROS).and_then(Time::from_micros),
    }))
}

/// Postgres's times begin with the year 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    take(rest, N)?.try_into().ok()
}

/// The bytes of a column. None of them is NULL.
fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = i32::from_be_bytes(array(rest)?);
    take(rest, usize::try_from(length).ok()?)
}

fn uuid(bytes: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(bytes).ok()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn number(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

/// An amount: the count of its digits to the base 10,000, the exponent of the first of them, the sign, the number of decimals
/// that are shown, and the digits. `None` if it has more than 28 decimal digits, or is no number.
fn amount(mut bytes: &[u8]) -> Option<Amount> {
    const NEGATIVE: u16 = 0x4000;
    let rest = &mut bytes;
    let count = u16::from_be_bytes(array(rest)?);
    let weight = i16::from_be_bytes(array(rest)?);
    let sign = u16::from_be_bytes(array(rest)?);
    let _shown = take(rest, 2)?;
    if sign != 0 && sign != NEGATIVE {
        return None;
    }
    let mut mantissa: i128 = 0;
    for _ in 0..count {
        let digit = u16::from_be_bytes(array(rest)?);
        mantissa = mantissa.checked_mul(10_000)?.checked_add(digit.into())?;
    }
    // Digits that follow the point, of those that were sent; where it is negative, zeros were left out before the point.
    let mut scale = (i32::from(count) - 1 - i32::from(weight)) * 4;
    while scale < 0 && mantissa != 0 {
        mantissa = mantissa.checked_mul(10)?;
        scale += 1;
    }
    while scale > 0 && mantissa % 10 == 0 && mantissa != 0 {
        mantissa /= 10;
        scale -= 1;
    }
    if mantissa == 0 {
        return Some(Amount::ZERO);
    }
    if sign == NEGATIVE {
        mantissa = -mantissa;
    }
    let scale = u32::try_from(scale).ok()?;
    let decimal = Decimal::try_from_i128_with_scale(mantissa, scale).ok()?;
    Amount::from_decimal(decimal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_postgres::types::private::BytesMut;
    use tokio_postgres::types::{ToSql, Type};

    use super::*;

    fn sent(decimal: Decimal) -> BytesMut {
        let mut bytes = BytesMut::new();
        decimal.to_sql(&Type::NUMERIC, &mut bytes).expect("sent");
        bytes
    }

    proptest! {
        #[test]
        fn an_amount_is_read_as_it_was_sent(
            mantissa in -9_999_999_999_999_999_999_999_999_999_i128..10_000_000_000_000_000_000_000_000_000,
            digits in 0_u32..28,
            scale in 0_u32..29,
        ) {
            let mantissa = mantissa / 10_i128.pow(digits);
            let decimal = Decimal::from_i128_with_scale(mantissa, scale);
            prop_assert_eq!(amount(&sent(decimal)), Amount::from_decimal(decimal));
        }
    }

    #[test]
    fn what_is_no_amount_is_not_read() {
        // 10^28, 10^40, 10^-40, NaN, an infinity, and a number that was cut off.
        let digits = |count: u16, weight: i16, sign: u16, digits: &[u16]| {
            let head = [
                count.to_be_bytes(),
                weight.to_be_bytes(),
                sign.to_be_bytes(),
                [0; 2],
            ];
            let digits = digits.iter().map(|digit| digit.to_be_bytes());
            head.into_iter()
                .chain(digits)
                .flatten()
                .collect::<Vec<u8>>()
        };
        for bytes in [
            digits(1, 7, 0, &[1]),
            digits(1, 10, 0, &[1]),
            digits(1, -10, 0, &[1]),
            digits(0, 0, 0xc000, &[]),
            digits(0, 0, 0xd000, &[]),
            digits(2, 0, 0, &[1]),
        ] {
            assert_eq!(amount(&bytes), None, "{bytes:?}");
        }
        let thousand = digits(1, 1, 0x4000, &[7]);
        assert_eq!(amount(&thousand), Amount::parse_signed_quantity("-70000"));
        assert_eq!(amount(&digits(0, 0, 0, &[])), Some(Amount::ZERO));
    }
}
