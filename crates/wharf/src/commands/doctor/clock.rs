//! This machine's clock beside the registry's.

use std::time::Duration;

use super::look::Look;
use super::report::Check;

const SUBJECT: &str = "clock";
/// So far apart, nothing suffers: an answer says its second, and takes some to come.
const AGREES: Duration = Duration::from_secs(30);
/// Beyond it, tokens are refused as expired or as not yet valid.
const FAILS: Duration = Duration::from_secs(5 * 60);

/// Compares the clocks.
pub fn checks(look: &Look) -> Vec<Check> {
    let Some(answer) = look.registry().or(look.expected.as_ref().ok()) else {
        return vec![Check::none(SUBJECT, "no answer says the time")];
    };
    let Some(theirs) = answer.header("date").and_then(|date| httpdate::parse_http_date(date).ok()) else {
        return vec![Check::none(SUBJECT, "the answer does not say the time")];
    };
    let (apart, ahead) = match look.at.duration_since(theirs) {
        Ok(apart) => (apart, true),
        Err(error) => (error.duration(), false),
    };
    if apart <= AGREES {
        return vec![Check::ok(SUBJECT, "this machine's clock and the registry's agree")];
    }
    let shown = humantime::format_duration(Duration::from_secs(apart.as_secs()));
    let what = format!("this machine's clock is {shown} {} the registry's", if ahead { "ahead of" } else { "behind" });
    let mend = "`timedatectl set-ntp true` on the machine that is wrong sets its clock by the network";
    let make = if apart > FAILS { Check::problem } else { Check::warning };
    vec![make(SUBJECT, what, mend)]
}
