//! `vdkr run`, from nothing running and with a machine that waits, beside its own first use, which boots.

use std::fs;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::failure::{Failure, Result};
use crate::report::{Report, Target};
use crate::stats::median;
use crate::vdkr::{ARCHITECTURES, Vdkr};

/// What the row runs.
const HELLO: [&str; 5] = ["run", "--rm", "box", "echo", "hello"];
/// The next machine is made ready a second after the one before was taken.
const NEXT_AFTER: Duration = Duration::from_millis(1500);
/// By when it is.
const NEXT_WITHIN: Duration = Duration::from_secs(60);
/// How long to wait between two looks at it.
const POLL: Duration = Duration::from_millis(50);

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("ms for `run --rm IMAGE echo hello`, the whole command");
    let folder = bench.folder("vdkr-run")?;
    let vdkr = Vdkr::new(bench, &folder)?;
    for (architecture, debian) in ARCHITECTURES {
        vdkr.setup(architecture)?;
        vdkr.import(architecture, debian, "box")?;
        // Boot, a first container, and the snapshot.
        let mut first = Vec::new();
        for _ in 0..bench.options.rounds.min(3) {
            fs::remove_dir_all(vdkr.state().join(architecture).join("machines")).or_else(missing_is_fine)?;
            first.push(vdkr.run(architecture, &HELLO)?.seconds * 1e3);
        }
        let mut cold = Vec::new();
        for _ in 0..bench.options.rounds {
            cold.push(vdkr.run(architecture, &HELLO)?.seconds * 1e3);
        }
        vdkr.run(architecture, &["memres", "start"])?;
        let mut warm = Vec::new();
        for _ in 0..bench.options.rounds {
            wait_for_spare(&vdkr, architecture)?;
            warm.push(vdkr.run(architecture, &HELLO)?.seconds * 1e3);
        }
        wait_for_spare(&vdkr, architecture)?;
        vdkr.run(architecture, &["memres", "stop"])?;
        report.check(format!("{architecture}, from nothing running"), median(&cold), " ms", Target::AtMost(1000.0));
        report.check(format!("{architecture}, with a machine that waits"), median(&warm), " ms", Target::AtMost(400.0));
        report.series(format!("{architecture}, first use: boot and snapshot"), first);
        report.series(format!("{architecture}, from nothing running"), cold);
        report.series(format!("{architecture}, with a machine that waits"), warm);
    }
    fs::remove_dir_all(folder)?;
    Ok(report)
}

fn missing_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Until a machine waits, and nothing else of it is at work.
fn wait_for_spare(vdkr: &Vdkr, architecture: &str) -> Result<()> {
    let begun = Instant::now();
    std::thread::sleep(NEXT_AFTER);
    loop {
        if vdkr.run(architecture, &["memres", "status"]).is_ok() {
            return Ok(());
        }
        if begun.elapsed() > NEXT_WITHIN {
            return Err(Failure::new("no machine was got ready"));
        }
        std::thread::sleep(POLL);
    }
}
