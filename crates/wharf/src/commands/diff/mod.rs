//! `diff`.

mod config;
mod files;
mod image;
mod json;
mod layers;
mod pieces;
mod report;
mod text;

use std::process::ExitCode;
use std::sync::Arc;

use wharf_client::Observer;

use super::usage_of;
use crate::cli::Diff;
use crate::picture::{Picture, Whereabouts};
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure, Output};
use image::{Pairs, Side};
use layers::Layers;
use report::Report;
use wharf_terminal::progress::Progress;

/// The exit code of images that differ, for who asks for one; 1 is for what failed.
const DIFFER: u8 = 2;

/// Tells what differs between two images.
pub fn run(settings: &Settings, options: &Diff) -> Result<ExitCode, Failure> {
    let (Some(before), Some(after)) = (&options.before, &options.after) else {
        return usage_of("diff", "wharf diff app:1.0 app:1.1");
    };
    let (before, after) = (Whereabouts::parse(settings, before)?, Whereabouts::parse(settings, after)?);
    let is_same = remote::run(async {
        let observer: Arc<dyn Observer> = Arc::new(Progress::new());
        let open = |whereabouts| Picture::open(settings, &options.auth, &options.source, whereabouts, observer.clone());
        let (before, after) = (open(&before).await?, open(&after).await?);
        let before = Side::read(&before, options.platform.as_ref()).await?;
        let after = Side::read(&after, options.platform.as_ref()).await?;
        let pairs = Pairs::of(&before, &after)?;
        let mut output = Output::default();
        let mut documents = Vec::new();
        let mut layers = Layers::new();
        let mut is_same = pairs.is_complete();
        if !options.json {
            output.print(text::heading(&before, &after, &pairs));
        }
        for (old, new) in &pairs.both {
            let report = Report::of((&before, old), (&after, new), &mut layers).await?;
            let files = report.files(options.times);
            is_same &= report.is_same(&files);
            for problem in report.problems() {
                ui::warn(&problem);
            }
            if options.json {
                documents.push(json::image(&report, &files));
            } else {
                output.print(text::image(&report, &files, options.summary));
            }
        }
        if options.json {
            ui::print_json(&json::document(&before, &after, &pairs, is_same, &documents))?;
        }
        output.end().map(|()| is_same)
    })?;
    Ok(if options.exit_code && !is_same { ExitCode::from(DIFFER) } else { ExitCode::SUCCESS })
}
