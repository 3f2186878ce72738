//! `vimport` and `import`: layouts, archives and root file systems that are on this machine already.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use wharf_layers::tree::{Tree, TreeOptions};
use wharf_machine::Architecture;
use wharf_oci::{Found, LayoutError, Platform, look};
use wharf_terminal::ui::{self, Failure, Output};

use super::{load, make_ready, pack, tag};
use crate::cli::images::{Import, Vimport};
use crate::settings::Settings;
use crate::store::{Listing, Store};

/// Takes in whatever lies at a path.
pub fn run(settings: &Settings, options: &Vimport) -> Result<ExitCode, Failure> {
    let path = &options.path;
    let name = options.name.as_deref().map(tag::name).transpose()?;
    let store = Store::of(settings);
    let found = look(path).map_err(|error| Failure::new(format!("cannot read {}", path.display())).because(&error))?;
    let is_layout = match found {
        Found::Nothing => {
            return Err(Failure::new(format!("{} not found", path.display())).hint("there is no such file or folder"));
        }
        Found::Folder => path.join("index.json").exists() || path.join("oci-layout").exists(),
        _ => true,
    };
    let mut output = Output::default();
    if is_layout {
        let mut kept = None;
        let layout = match load::open(path, &store, &mut kept) {
            Err(_) if is_plain_archive(path) => {
                return import_tree(settings, &store, &archive(path, &store)?, name.or_else(|| named_after(path)), "vimport");
            }
            layout => layout?,
        };
        // A layout of a build has a tag for a name; the image's own is that of the folder.
        let nameless = layout.images().iter().all(|image| image.name.as_deref().is_none_or(|name| !name.contains([':', '/'])));
        let is_one = layout.images().len() == 1;
        let name = name.or_else(|| (nameless && is_one).then(|| named_after(path)).flatten());
        for loaded in load::take_all(settings, &store, &layout, name.as_deref())? {
            output.print(format_args!("Loaded image{loaded}\n"));
        }
        return output.end().map(|()| ExitCode::SUCCESS);
    }
    let tree = Tree::of_directory(path, TreeOptions::default());
    let tree = tree.map_err(|error| Failure::of(&error).about(&format!("{} cannot be packed", path.display())))?;
    import_tree(settings, &store, &tree, name.or_else(|| named_after(path)), "vimport")
}

/// Whether an archive is none of images but of files.
fn is_plain_archive(path: &Path) -> bool {
    matches!(wharf_oci::Layout::open(path), Err(LayoutError::NotALayout { .. } | LayoutError::Compressed { .. }))
        && path.is_file()
}

/// The name of an image after the folder or file it was in: what a build adds to names is taken off.
fn named_after(path: &Path) -> Option<String> {
    let full = std::fs::canonicalize(path).ok()?;
    let mut name = full.file_name()?.to_str()?.to_lowercase();
    for end in [".gz", ".zst", ".tar", "-oci", ".rootfs"] {
        if let Some(rest) = name.strip_suffix(end).filter(|rest| !rest.is_empty()) {
            name = rest.to_owned();
        }
    }
    tag::name(&name).ok()
}

/// Makes an image of an archive with a root file system.
pub fn import(settings: &Settings, options: &Import) -> Result<ExitCode, Failure> {
    let store = Store::of(settings);
    let name = options.name.as_deref().map(tag::name).transpose()?;
    let execution = changes(&options.change)?;
    let tree = archive(&options.file, &store)?;
    let platform = options.platform.clone().unwrap_or_else(|| own_platform(settings.arch));
    let comment = options.message.clone().unwrap_or_else(|| format!("Imported from {}", options.file.display()));
    finish(settings, &store, &tree, &platform, &execution, name, &comment)
}

fn import_tree(settings: &Settings, store: &Store, tree: &Tree, name: Option<String>, how: &str) -> Result<ExitCode, Failure> {
    let mut execution = Map::new();
    execution.insert("Cmd".to_owned(), json!(["/bin/sh"]));
    execution.insert("Env".to_owned(), json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]));
    finish(settings, store, tree, &own_platform(settings.arch), &execution, name, how)
}

fn finish(
    settings: &Settings,
    store: &Store,
    tree: &Tree,
    platform: &Platform,
    execution: &Map<String, Value>,
    name: Option<String>,
    comment: &str,
) -> Result<ExitCode, Failure> {
    let mut writer = store.writer()?;
    let descriptor = pack::pack(tree, &mut writer, platform, execution, comment)?;
    Store::list(&mut writer, &descriptor, &Listing { names: name.into_iter().collect(), repository_digest: None });
    Store::commit(writer)?;
    make_ready(settings, store, &descriptor)?;
    let images = store.images()?;
    let id = images.iter().find(|image| image.has(&descriptor.digest)).map(|image| image.full_id());
    ui::print(format_args!("{}\n", id.unwrap_or_default()))?;
    Ok(ExitCode::SUCCESS)
}

fn archive(path: &Path, store: &Store) -> Result<Tree, Failure> {
    let cannot = |error: wharf_layers::LayersError| Failure::of(&error).about(&format!("{} cannot be packed", path.display()));
    let scratch = store.downloads()?;
    if path.as_os_str() == "-" {
        let stdin: Box<dyn Read> = Box::new(std::io::stdin().lock());
        return Tree::of_stream(stdin, Path::new("standard input"), &scratch, TreeOptions::default()).map_err(cannot);
    }
    Tree::of_archive(path, &scratch, TreeOptions::default()).map_err(cannot)
}

/// The platform of images that are made here for an architecture.
fn own_platform(arch: Architecture) -> Platform {
    Platform::new(
        "linux",
        match arch {
            Architecture::X86_64 => "amd64",
            Architecture::Aarch64 => "arm64",
        },
    )
}

/// What instructions of a Dockerfile make of an empty configuration.
pub fn changes(lines: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut config = Map::new();
    for line in lines {
        change(&mut config, line)?;
    }
    Ok(config)
}

/// Applies an instruction of a Dockerfile (its reference, "CMD" and others) to a configuration.
pub fn change(config: &mut Map<String, Value>, line: &str) -> Result<(), Failure> {
    let wrong = || Failure::new(format!("the change `{line}` cannot be made"));
    let (word, rest) = line.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
    let rest = rest.trim();
    let program = || match rest.starts_with('[') {
        true => serde_json::from_str::<Vec<String>>(rest).map(|list| json!(list)).map_err(|error| wrong().because(&error)),
        false => Ok(json!(["/bin/sh", "-c", rest])),
    };
    let pair = || {
        rest.split_once('=')
            .or_else(|| rest.split_once(' '))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
            .ok_or_else(wrong)
    };
    let member = |config: &mut Map<String, Value>, list: &str, name: String, value: Value| {
        let list = config.entry(list).or_insert_with(|| json!({}));
        if let Value::Object(members) = list {
            members.insert(name, value);
        }
    };
    match word.to_ascii_uppercase().as_str() {
        "CMD" => drop(config.insert("Cmd".to_owned(), program()?)),
        "ENTRYPOINT" => drop(config.insert("Entrypoint".to_owned(), program()?)),
        "USER" => drop(config.insert("User".to_owned(), rest.into())),
        "WORKDIR" => drop(config.insert("WorkingDir".to_owned(), rest.into())),
        "STOPSIGNAL" => drop(config.insert("StopSignal".to_owned(), rest.into())),
        "ENV" => {
            let (name, value) = pair()?;
            let list = config.entry("Env").or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.retain(|known| {
                    known.as_str().and_then(|known| known.split_once('=')).is_none_or(|(known, _)| known != name)
                });
                list.push(format!("{name}={value}").into());
            }
        }
        "LABEL" => {
            let (name, value) = pair()?;
            member(config, "Labels", name.to_owned(), value.into());
        }
        "EXPOSE" => {
            let port = if rest.contains('/') { rest.to_owned() } else { format!("{rest}/tcp") };
            member(config, "ExposedPorts", port, json!({}));
        }
        "VOLUME" => {
            let paths = serde_json::from_str::<Vec<String>>(rest)
                .unwrap_or_else(|_| rest.split_whitespace().map(str::to_owned).collect());
            paths.into_iter().for_each(|path| member(config, "Volumes", path, json!({})));
        }
        _ => return Err(wrong().hint("CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR can be changed")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_the_configuration() {
        let lines = [r#"CMD ["sh","-c","x"]"#, "entrypoint run it", "ENV A=1", "ENV A=2", "LABEL a.b=c", "EXPOSE 80", "USER 1:2"]
            .map(str::to_owned);
        let config = changes(&lines).unwrap();
        assert_eq!(config["Cmd"], json!(["sh", "-c", "x"]));
        assert_eq!(config["Entrypoint"], json!(["/bin/sh", "-c", "run it"]));
        assert_eq!(config["Env"], json!(["A=2"]));
        assert_eq!(
            (&config["Labels"], &config["ExposedPorts"], &config["User"]),
            (&json!({"a.b": "c"}), &json!({"80/tcp": {}}), &json!("1:2"))
        );
        for wrong in ["", "CMD", "RUN x", r#"CMD ["x"#, "ENV A"] {
            assert!(changes(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
