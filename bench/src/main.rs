//! Wharf measured beside real peers on the same machine: medians of alternating rounds, ratios, and the targets they are
//! held against.

mod bench;
mod control;
mod failure;
mod http;
mod layer;
mod link;
mod options;
mod peer;
mod podman;
mod program;
mod registry;
mod report;
mod rootfs;
mod rows;
mod stats;
mod vdkr;
mod wrk;

use std::process::ExitCode;

use bench::Bench;
use failure::{Context, Failure, Result};
use options::{HELP, Options, Request};
use report::Report;
use rows::{ROWS, Row};

fn main() -> ExitCode {
    let program = std::env::current_exe().unwrap_or_default();
    let request = options::parse(std::env::args_os().skip(1), &program, std::env::var_os("WHARF_BIN"));
    let result = request.and_then(|request| match request {
        Request::Help => {
            print!("{HELP}");
            Ok(())
        }
        Request::List => {
            for row in ROWS {
                println!("{:<16} {}", row.name, row.title);
            }
            Ok(())
        }
        Request::Run(options) => measure(options),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the rows asked for, printing each when it is done.
fn measure(options: Options) -> Result<()> {
    let rows = chosen(&options)?;
    if let Some(folder) = &options.profile {
        std::fs::create_dir_all(folder).context(folder.display())?;
    }
    let bench = Bench::new(options)?;
    let machine = machine();
    println!("{machine}, {} rounds{}\n", bench.options.rounds, if bench.options.quick { ", --quick" } else { "" });
    let mut total = [0; 3];
    let mut json = Vec::new();
    for row in rows {
        bench.progress(row.name);
        let report = (row.run)(&bench).unwrap_or_else(|failure| {
            let mut report = Report::new("-");
            report.failure("the row", &failure);
            report
        });
        println!("{}", report.table(row.name, row.title));
        for (sum, count) in total.iter_mut().zip(report.verdicts()) {
            *sum += count;
        }
        json.push(report.json(row.name, row.title));
    }
    let [reached, missed, open] = total;
    println!("targets: {reached} reached, {missed} missed, {open} not measured");
    if let Some(path) = &bench.options.json {
        let json =
            serde_json::json!({"machine": machine, "rounds": bench.options.rounds, "quick": bench.options.quick, "rows": json});
        std::fs::write(path, format!("{json:#}\n")).context(path.display())?;
    }
    Ok(())
}

fn chosen(options: &Options) -> Result<Vec<&'static Row>> {
    if let Some(unknown) = options.only.iter().find(|name| ROWS.iter().all(|row| row.name != name.as_str())) {
        return Err(Failure::new(format!("no row is called {unknown:?}; see --list")));
    }
    Ok(ROWS.iter().filter(|row| options.only.is_empty() || options.only.iter().any(|name| name == row.name)).collect())
}

/// The machine in a few words: figures mean little without it.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, name)| name.trim());
    let system = rustix::system::uname();
    format!("{processors} processors ({model}), {} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy())
}
