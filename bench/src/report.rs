//! Results: the table for people and the JSON for programs.

use std::fmt::Write;

use crate::failure::Failure;
use crate::peer::Peer;
use crate::stats::{median, ratio, readable};

/// What one row found.
pub struct Report {
    unit: &'static str,
    series: Vec<Series>,
    checks: Vec<Check>,
    notes: Vec<String>,
}

struct Series {
    label: String,
    values: Vec<f64>,
}

/// The limit that a figure is held against.
#[derive(Clone, Copy)]
pub enum Target {
    /// Reached by this or more.
    AtLeast(f64),
    /// Reached by this or less.
    AtMost(f64),
    /// Shown for comparison only.
    None,
}

struct Check {
    what: String,
    measured: f64,
    unit: &'static str,
    target: Target,
}

impl Check {
    /// Whether the target is reached; none when there is no target, or nothing was measured.
    fn reached(&self) -> Option<bool> {
        if !self.measured.is_finite() {
            return None;
        }
        match self.target {
            Target::AtLeast(limit) => Some(self.measured >= limit),
            Target::AtMost(limit) => Some(self.measured <= limit),
            Target::None => None,
        }
    }

    fn verdict(&self) -> String {
        let (sign, limit) = match self.target {
            Target::AtLeast(limit) => (">=", limit),
            Target::AtMost(limit) => ("<=", limit),
            Target::None => return String::new(),
        };
        let verdict = match self.reached() {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "not measured",
        };
        format!("target {sign} {}{}  {verdict}", readable(limit), self.unit)
    }
}

impl Report {
    /// An empty report whose values are in `unit`.
    pub fn new(unit: &'static str) -> Self {
        Self { unit, series: Vec::new(), checks: Vec::new(), notes: Vec::new() }
    }

    /// Adds the values of one participant, one for each round.
    pub fn series(&mut self, label: impl Into<String>, values: Vec<f64>) {
        self.series.push(Series { label: label.into(), values });
    }

    /// Adds a remark.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds why a part is missing.
    pub fn failure(&mut self, part: &str, failure: &Failure) {
        self.notes.push(format!("{part}: not measured: {failure}"));
    }

    /// Holds a figure against a target.
    pub fn check(&mut self, what: impl Into<String>, measured: f64, unit: &'static str, target: Target) {
        self.checks.push(Check { what: what.into(), measured, unit, target });
    }

    /// The median over the rounds of the ratio between two participants in the same round, held against a target.
    pub fn ratio(&mut self, of: Peer, to: Peer, target: Target) {
        self.ratio_to_best(of, &[to], target);
    }

    /// The same against whichever of several variants has the best median.
    pub fn ratio_to_best(&mut self, of: Peer, to: &[Peer], target: Target) {
        let found = |peer: Peer| self.series.iter().find(|series| series.label == peer.label());
        let best = to.iter().filter_map(|&peer| found(peer)).max_by(|a, b| median(&a.values).total_cmp(&median(&b.values)));
        let ratio = match (found(of), best) {
            (Some(ours), Some(theirs)) => ratio(&ours.values, &theirs.values),
            _ => f64::NAN,
        };
        let name = best.map_or(to.first().map_or("", |peer| peer.label()), |series| &series.label);
        self.check(format!("{} / {name}", of.label()), ratio, "", target);
    }

    /// The rows of the table.
    pub fn table(&self, name: &str, title: &str) -> String {
        let mut text = format!("{name}: {title} ({})\n", self.unit);
        for series in &self.series {
            let least = series.values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = series.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            // Writing to a String cannot fail, here and below.
            let _ = write!(text, "  {:<34} {:>10}", series.label, readable(median(&series.values)));
            let _ = match series.values.len() {
                0 | 1 => writeln!(text),
                _ => writeln!(text, "   ({} to {})", readable(least), readable(most)),
            };
        }
        for check in &self.checks {
            let line = format!("  = {:<32} {:>10}{}   {}", check.what, readable(check.measured), check.unit, check.verdict());
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }

    /// How many targets were reached, missed and not measured.
    pub fn verdicts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for check in self.checks.iter().filter(|check| !matches!(check.target, Target::None)) {
            let place = match check.reached() {
                Some(true) => 0,
                Some(false) => 1,
                None => 2,
            };
            counts[place] += 1;
        }
        counts
    }

    /// The same as JSON.
    pub fn json(&self, name: &str, title: &str) -> serde_json::Value {
        let series: Vec<_> = self
            .series
            .iter()
            .map(|series| serde_json::json!({"label": series.label, "median": median(&series.values), "values": series.values}))
            .collect();
        let checks: Vec<_> = self
            .checks
            .iter()
            .map(|check| {
                let target = match check.target {
                    Target::AtLeast(limit) => serde_json::json!({"at_least": limit}),
                    Target::AtMost(limit) => serde_json::json!({"at_most": limit}),
                    Target::None => serde_json::Value::Null,
                };
                serde_json::json!({
                    "what": check.what, "measured": check.measured, "unit": check.unit.trim(),
                    "target": target, "reached": check.reached(),
                })
            })
            .collect();
        serde_json::json!({"name": name, "title": title, "unit": self.unit, "series": series, "checks": checks, "notes": self.notes})
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Target};
    use crate::peer::Peer;

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_of_each_round() {
        let mut report = Report::new("1/s");
        report.series("wharf", vec![10.0, 40.0, 30.0]);
        report.series("nginx", vec![10.0, 20.0, 30.0]);
        report.series("nginx, sendfile off", vec![11.0, 10.0, 10.0]);
        report.ratio_to_best(Peer::Wharf, &[Peer::Nginx, Peer::NginxCopying], Target::AtLeast(1.0));
        assert_eq!(report.verdicts(), [1, 0, 0]);
        assert!(report.table("x", "y").contains("wharf / nginx "));
    }

    #[test]
    fn what_was_not_measured_is_neither_reached_nor_missed() {
        let mut report = Report::new("1/s");
        report.series("nginx", vec![10.0]);
        report.ratio(Peer::Wharf, Peer::Nginx, Target::AtLeast(1.0));
        assert_eq!(report.verdicts(), [0, 0, 1]);
        assert!(report.table("x", "y").contains("not measured"));
    }
}
