//! What the documents say of files, commands and variables is so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file that git knows and that is still there.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("run git");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("paths in UTF-8");
    text.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from).filter(|path| root().join(path).is_file()).collect()
}

/// Standard output of `wharf help`.
fn help() -> String {
    let own = std::env::current_exe().expect("the path of the test program");
    let built = own.ancestors().skip(1).take(2).map(|folder| folder.join("wharf")).find(|path| path.is_file());
    let wharf = std::env::var_os("WHARF_BIN").map(PathBuf::from).or(built).expect("a wharf beside the tests, or WHARF_BIN");
    let output = Command::new(wharf).arg("help").output().expect("run wharf");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The first words of the indented lines below a heading, up to the next empty line.
fn listed_below(text: &str, heading: &str) -> BTreeSet<String> {
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("no {heading} in: {text}"));
    let lines = rest.lines().skip(1).take_while(|line| !line.is_empty());
    let entries = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    entries.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The words that follow `before` anywhere in a text: `run` and `test` for "make ".
fn words_after<'a>(text: &'a str, before: &str) -> BTreeSet<&'a str> {
    let end = |rest: &str| rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
    text.split(before).skip(1).map(|rest| &rest[..end(rest)]).filter(|word| !word.is_empty()).collect()
}

/// What stands in backquotes in a text.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn links_lead_to_files() {
    let mut broken = Vec::new();
    for path in tracked().iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = read(path.to_str().expect("a path in UTF-8"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if target.contains("://") || file.is_empty() {
                continue;
            }
            if !root().join(path).with_file_name(file).exists() {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links to nothing: {broken:#?}");
}

#[test]
fn the_readme_names_commands_that_exist() {
    let readme = read("README.md");
    let makefile = read("Makefile");
    let targets: BTreeSet<_> = makefile.lines().filter_map(|line| line.split_once(": ## ")).map(|(name, _)| name).collect();
    let named = words_after(&readme, "make ");
    assert!(named.contains("run") && named.contains("test"), "{named:?}");
    let code: Vec<_> = code(&readme).collect();
    let missing: Vec<_> =
        code.iter().flat_map(|code| words_after(code, "make ")).filter(|name| !targets.contains(name)).collect();
    assert!(missing.is_empty(), "no make {missing:?}");
    for script in words_after(&readme, "scripts/").union(&words_after(&makefile, "scripts/")) {
        assert!(root().join("scripts").join(script).is_file(), "no scripts/{script}");
    }
    let commands = listed_below(&help(), "Commands:");
    let named: BTreeSet<_> = code
        .iter()
        .flat_map(|code| words_after(code, "wharf "))
        .chain(words_after(&readme, "target/release/wharf "))
        .filter(|name| !commands.contains(*name))
        .collect();
    assert!(named.is_empty(), "no wharf {named:?}");
}

/// A command that comes to work is noticed here, and so is one that goes.
#[test]
fn the_compatibility_page_knows_what_works() {
    let page = read("COMPATIBILITY.md");
    let commands = listed_below(&help(), "Commands:");
    let (_, section) = page.split_once("\n## Commands\n").expect("a section of commands");
    let table = section.trim_start_matches(|c| c != '|').split("\n\n").next().expect("a table");
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.trim_matches('|').split(" | ");
        let name = words_after(cells.next().expect("a command"), "`").into_iter().next().expect("its name");
        let works = cells.next().expect("what works").trim().starts_with("works");
        assert_eq!(works, commands.contains(name), "{row}");
        rows += 1;
    }
    assert_eq!(rows, 12, "the seed system has twelve commands");
    let named: BTreeSet<_> = code(section).filter_map(|code| code.split_whitespace().next()).collect();
    let silent: Vec<_> = commands.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(silent.is_empty(), "not a word on {silent:?}");
    let variables = listed_below(&help(), "Environment:");
    assert!(variables.len() > 5, "{variables:?}");
    for name in variables.iter().filter(|name| name.starts_with("CONTAINER_REGISTRY_")) {
        let short = name.strip_prefix("CONTAINER_REGISTRY").expect("the prefix");
        assert!(code(&page).any(|code| code == name || code == short), "not a word on {name}");
    }
}

#[test]
fn every_target_of_the_makefile_is_explained_and_continuous_integration_runs_the_tests() {
    let makefile = read("Makefile");
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).expect("the list of targets");
    for target in phony.split_whitespace() {
        assert!(makefile.contains(&format!("\n{target}: ## ")), "make {target} is not explained");
    }
    assert!(read(".ci/run").lines().any(|line| line == "make test"));
}

/// Nothing here depends on one machine, and nothing is left to be done where only a search would find it.
#[test]
fn files_are_free_of_traces() {
    // Put together here, since this file is searched too.
    let words = [["/wor", "k/"].concat(), ["/roo", "t/"].concat(), ["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    let mut found = Vec::new();
    for path in tracked() {
        let bytes = std::fs::read(root().join(&path)).expect("a file that git knows");
        for (number, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            // Behind a name or a variable it is the part of another path, such as a build's.
            let begins = |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '}');
            if let Some(word) = words.iter().find(|word| line.match_indices(*word).any(|(at, _)| begins(at))) {
                found.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
