//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure, Result};
use crate::peer::Peer;

/// What `--help` prints.
pub const HELP: &str = "\
Measures wharf beside Debian's docker-registry, nginx, skopeo, umoci, podman and plain files on this machine, and prints medians and ratios

Usage: wharf-bench [OPTIONS]

      --rounds N      rounds, in each of which every participant is measured once [default: 5]
      --quick         shorter measurements, two rounds: to try the benches, not to quote
      --only NAMES    only these rows, comma-separated (see --list)
      --peers NAMES   only these of wharf,docker-registry,nginx,bare
      --folder PATH   where the temporary folder is made [default: beside this program]
      --rootfs PATH   where the files of root file systems are taken from [default: /usr]
      --json FILE     also write the results as JSON
      --profile PATH  record wharf with perf, one file per row in this folder
      --list          print the names of the rows

The wharf program is the one in WHARF_BIN, else the one beside this program
Needs nginx, docker-registry, wrk, skopeo, umoci and, as root, podman:
  apt install nginx-light docker-registry wrk skopeo umoci podman
";

/// What was asked for.
#[derive(Debug)]
pub struct Options {
    /// How often each participant is measured.
    pub rounds: usize,
    /// Smaller measurements.
    pub quick: bool,
    /// The rows; empty is all.
    pub only: Vec<String>,
    /// The participants; empty is all.
    peers: Vec<String>,
    /// Where the temporary folder is made.
    pub folder: PathBuf,
    /// Where the files of root file systems are taken from.
    pub rootfs: PathBuf,
    /// Where the JSON goes.
    pub json: Option<PathBuf>,
    /// Where profiles go.
    pub profile: Option<PathBuf>,
    /// The wharf program, when there is one.
    pub wharf: Option<PathBuf>,
}

/// What the command line asks for.
pub enum Request {
    /// Measure.
    Run(Options),
    /// Print the help.
    Help,
    /// Print the names of the rows.
    List,
}

impl Options {
    /// Whether `peer` was asked for.
    pub fn takes_part(&self, peer: Peer) -> bool {
        self.peers.is_empty()
            || self.peers.iter().any(|name| name == peer.family() || peer.family().strip_suffix(" files") == Some(name))
    }
}

/// Reads the command line (without the program's name) and, for the wharf program, WHARF_BIN.
pub fn parse(arguments: impl IntoIterator<Item = OsString>, program: &Path, wharf: Option<OsString>) -> Result<Request> {
    let beside = program.parent().unwrap_or(Path::new("."));
    let wharf = wharf.map_or_else(|| beside.join("wharf"), PathBuf::from);
    let mut options = Options {
        rounds: 0,
        quick: false,
        only: Vec::new(),
        peers: Vec::new(),
        folder: beside.to_owned(),
        rootfs: "/usr".into(),
        json: None,
        profile: None,
        wharf: wharf.exists().then_some(wharf),
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let argument = argument.to_string_lossy().into_owned();
        let mut value = || arguments.next().ok_or_else(|| Failure::new(format!("{argument} needs a value")));
        match argument.as_str() {
            "--rounds" => {
                options.rounds = value()?.to_string_lossy().parse().context("--rounds")?;
                if options.rounds == 0 {
                    return Err(Failure::new("--rounds must be at least 1"));
                }
            }
            "--quick" => options.quick = true,
            "--only" => options.only = names(&value()?),
            "--peers" => {
                options.peers = names(&value()?);
                if let Some(unknown) =
                    options.peers.iter().find(|name| !["wharf", "docker-registry", "nginx", "bare"].contains(&name.as_str()))
                {
                    return Err(Failure::new(format!("--peers does not know {unknown:?}")));
                }
            }
            "--folder" => options.folder = value()?.into(),
            "--rootfs" => options.rootfs = value()?.into(),
            "--json" => options.json = Some(value()?.into()),
            "--profile" => options.profile = Some(value()?.into()),
            "--help" | "-h" => return Ok(Request::Help),
            "--list" => return Ok(Request::List),
            _ => return Err(Failure::new(format!("unknown argument {argument:?}; see --help"))),
        }
    }
    if options.rounds == 0 {
        options.rounds = if options.quick { 2 } else { 5 };
    }
    Ok(Request::Run(options))
}

fn names(list: &OsString) -> Vec<String> {
    list.to_string_lossy().split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Request, parse};
    use crate::peer::Peer;
    use std::path::Path;

    fn run(arguments: &[&str]) -> super::Options {
        let arguments = arguments.iter().map(Into::into);
        match parse(arguments, Path::new("/x/wharf-bench"), None).unwrap() {
            Request::Run(options) => options,
            _ => panic!("not a run"),
        }
    }

    #[test]
    fn quick_means_two_rounds_unless_told_otherwise() {
        assert_eq!(run(&[]).rounds, 5);
        assert_eq!(run(&["--quick"]).rounds, 2);
        assert_eq!(run(&["--rounds", "7", "--quick"]).rounds, 7);
    }

    #[test]
    fn peers_are_chosen_by_name() {
        let options = run(&["--peers", "nginx,bare"]);
        assert!(options.takes_part(Peer::NginxCopying) && options.takes_part(Peer::BareFiles));
        assert!(!options.takes_part(Peer::Wharf));
        assert!(parse(["--peers".into(), "apache".into()], Path::new("/x/y"), None).is_err());
    }
}
