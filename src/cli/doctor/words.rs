//! Numbers as people read them.

/// A number of bytes: `512 B`, `8.0 KiB`, `12.3 GiB`.
pub(super) fn bytes(count: i64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value.abs() < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{count} B"),
        _ => format!("{value:.1} {unit}"),
    }
}

/// A time in its two largest units: `0.4 ms`, `7.5 s`, `3 min 20 s`, `2 h 5 min`, `12 days 4 h`.
pub(super) fn span(seconds: f64) -> String {
    let seconds = seconds.abs();
    if seconds < 1.0 {
        return format!("{:.1} ms", seconds * 1_000.0);
    }
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds as u64;
    let (large, large_unit, small, small_unit) = match whole {
        0..3_600 => (whole / 60, "min", whole % 60, "s"),
        3_600..172_800 => (whole / 3_600, "h", whole % 3_600 / 60, "min"),
        _ => (whole / 86_400, "days", whole % 86_400 / 3_600, "h"),
    };
    format!("{large} {large_unit} {small} {small_unit}")
}

/// A number with commas between its thousands.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and what it counts: `1 key`, `2 keys`.
pub(super) fn counted(number: i64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// The first few of a list, and how many more there are.
pub(super) fn first_few(items: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = items
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>();
    match items.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(8 << 10), "8.0 KiB");
        assert_eq!(bytes((12 << 30) + (300 << 20)), "12.3 GiB");
        assert_eq!(span(0.000_4), "0.4 ms");
        assert_eq!(span(-7.5), "7.5 s");
        assert_eq!(span(200.0), "3 min 20 s");
        assert_eq!(span(7_500.0), "2 h 5 min");
        assert_eq!(span(1_051_200.0), "12 days 4 h");
        assert_eq!(count(-1_234_567), "-1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(counted(1, "key"), "1 key");
        assert_eq!(counted(1_000, "key"), "1,000 keys");
        let items: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        assert_eq!(first_few(&items), "0, 1, 2, 3, 4 and 2 more");
        assert_eq!(first_few(&items[..1]), "0");
    }
}
