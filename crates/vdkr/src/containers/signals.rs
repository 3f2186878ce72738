//! Signals, by name and number as x86-64 and arm64 have them.

use wharf_terminal::ui::Failure;

/// SIGTERM.
pub const TERM: i32 = 15;
/// SIGKILL.
pub const KILL: i32 = 9;

/// signal(7).
const NAMES: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// A signal's number, of `SIGTERM`, `term` or `15`.
///
/// # Errors
/// A name that no signal has.
pub fn parse(text: &str) -> Result<i32, Failure> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(name, _)| *name == bare).map(|(_, number)| *number);
    // Real-time signals have numbers only, counted from 34.
    let real_time = || {
        bare.strip_prefix("RTMIN")
            .and_then(|rest| if rest.is_empty() { Some(34) } else { rest.parse::<i32>().ok().map(|more| 34 + more) })
    };
    let number = named.or_else(|| bare.parse().ok()).or_else(real_time).filter(|number| (1..=64).contains(number));
    number.ok_or_else(|| Failure::new(format!("{text} is no signal")).hint("a name such as TERM or HUP, or a number"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_and_numbers_are_read() {
        for (text, number) in [("SIGTERM", 15), ("kill", 9), ("1", 1), ("SIGRTMIN+3", 37), ("64", 64)] {
            assert_eq!(parse(text).expect("a signal"), number, "{text}");
        }
        for wrong in ["", "SIG", "0", "65", "TERMS", "-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
