//! Listings of a large registry: the first page, and the last, which a naive server pays the whole list for.

use std::time::Instant;

use crate::bench::{Bench, settle};
use crate::failure::{Context, Failure, Result};
use crate::http::{Connection, Sink};
use crate::peer::{Peer, Server};
use crate::report::{Report, Target};
use crate::stats::median;

use super::seed;

const PAGE: usize = 1000;
const LIMIT: f64 = 10.0;

/// One of the four pages.
struct Page {
    label: &'static str,
    path: String,
    field: &'static str,
}

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("ms for a page");
    let count = seed::count(bench);
    let last = count - PAGE - 1;
    let tags = format!("/v2/{}/tags/list?n={PAGE}", seed::TAGGED);
    let catalog = format!("/v2/_catalog?n={PAGE}");
    let pages = [
        Page { label: "tags, first page", path: tags.clone(), field: "tags" },
        Page { label: "tags, last page", path: format!("{tags}&last={}", seed::tag(last)), field: "tags" },
        Page { label: "repositories, first page", path: catalog.clone(), field: "repositories" },
        Page {
            label: "repositories, last page",
            path: format!("{catalog}&last={}", seed::repository(last)),
            field: "repositories",
        },
    ];
    if bench.options.takes_part(Peer::Wharf)
        && let Err(failure) = wharf(bench, &pages, &mut report)
    {
        report.failure("wharf", &failure);
        for page in &pages {
            report.check(format!("wharf, {}", page.label), f64::NAN, " ms", Target::AtMost(LIMIT));
        }
    }
    if bench.options.takes_part(Peer::DockerRegistry)
        && let Err(failure) = docker_registry(bench, &pages, &mut report)
    {
        report.failure("docker-registry", &failure);
    }
    if count != 100_000 {
        report.note(format!("--quick: {count} tags and {count} repositories"));
    }
    Ok(report)
}

fn wharf(bench: &Bench, pages: &[Page], report: &mut Report) -> Result<()> {
    let server = Server::start(Peer::Wharf, seed::wharf(bench)?, &bench.settings("listing"))?;
    let mut connection = server.connect()?;
    let mut found = vec![Vec::new(); pages.len()];
    for _ in 0..bench.options.rounds {
        for (values, page) in found.iter_mut().zip(pages) {
            let times: Result<Vec<f64>> = (0..20).map(|_| time(&mut connection, page, true)).collect();
            values.push(median(&times?));
        }
    }
    for (values, page) in found.into_iter().zip(pages) {
        report.check(format!("wharf, {}", page.label), median(&values), " ms", Target::AtMost(LIMIT));
        report.series(format!("wharf, {}", page.label), values);
    }
    Ok(())
}

fn docker_registry(bench: &Bench, pages: &[Page], report: &mut Report) -> Result<()> {
    let folder = bench.folder("listing-docker-registry")?;
    let server = Server::start(Peer::DockerRegistry, &folder, &bench.settings("listing"))?;
    bench.progress("making the same listings for docker-registry");
    seed::docker_registry(bench, &server.data())?;
    settle(&folder)?;
    let mut connection = server.connect()?;
    for page in pages {
        // This version answers with all tags whatever `n` says. Seconds a page: once is enough.
        let strict = page.field != "tags";
        report.series(format!("docker-registry, {}", page.label), vec![time(&mut connection, page, strict)?]);
    }
    drop(server);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Milliseconds for one page, which must hold what it should.
fn time(connection: &mut Connection, page: &Page, strict: bool) -> Result<f64> {
    let mut body = Vec::new();
    let before = Instant::now();
    connection.exchange("GET", &page.path, &[], &[], Sink::Keep(&mut body))?.expecting(200, &page.path)?;
    let elapsed = before.elapsed().as_secs_f64() * 1e3;
    let json: serde_json::Value = serde_json::from_slice(&body).context(&page.path)?;
    let entries = json[page.field].as_array().map_or(0, Vec::len);
    if strict && entries != PAGE {
        return Err(Failure::new(format!("{}: {entries} entries instead of {PAGE}", page.path)));
    }
    Ok(elapsed)
}
