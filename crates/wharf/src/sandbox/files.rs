//! Files and connections, by landlock (landlock(7)).

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};

use super::Places;

/// What is asked for; a kernel that knows less gives what it has. The first version has the rules for files, the fourth those for ports,
/// the sixth signals.
const VERSION: ABI = ABI::V6;

/// Keeps this thread, and those it starts, to `places`. Says what is missing where the kernel does not have it.
pub fn restrict(places: &Places) -> Result<(), String> {
    let status = rules(places).and_then(RulesetCreated::restrict_self).map_err(|error| format!("landlock: {error}"))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("the kernel has no landlock, which keeps a program to its folders".to_owned()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

fn rules(places: &Places) -> Result<RulesetCreated, RulesetError> {
    // All ports that are listened on are bound by now.
    let ports = if places.connects { BitFlags::from(AccessNet::BindTcp) } else { AccessNet::from_all(VERSION) };
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))?
        .handle_access(ports)?
        // Not abstract sockets: whoever waits for the start is told by one.
        .scope(Scope::Signal)?
        .create()?;
    // Nothing here is a program to run.
    let write = AccessFs::from_all(VERSION) & !BitFlags::from(AccessFs::Execute);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    for (paths, access) in [(&places.writes, write), (&places.reads, read)] {
        for path in paths {
            rules = allow(rules, path, access)?;
        }
    }
    // Where what nobody wants to hear is written.
    allow(rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)
}

/// A path that is not there, or not for us, is passed over: it stays closed.
fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    // Rights that only folders can have are none for a file.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(VERSION) };
    rules.add_rule(PathBeneath::new(opened, access))
}
