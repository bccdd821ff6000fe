//! Times as the gateway writes them.

/// Milliseconds of the Unix epoch as ISO 8601 in UTC, with milliseconds and a Z.
pub fn iso(ms: i64) -> String {
    let (days, ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (s, ms) = (ms / 1_000, ms % 1_000);
    // Days to a date: the era of 400 years begins on 1 March of year 0.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (era * 400 + year, month + 3)
    } else {
        (era * 400 + year + 1, month - 9)
    };
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        s / 3_600,
        s / 60 % 60,
        s % 60
    )
}
