//! The container runtime, crun, with the loader and the libraries that it is linked with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::architecture::machine;
use super::{Architecture, SetupError, elf};

/// Links followed on the way to one file; the kernel follows as many.
const MOST_LINKS: usize = 40;

/// Files by their path in the machine. All of them are executable.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Where the machine has its runtime, wherever the host has it.
const PLACE: &str = "/usr/bin/crun";

/// Reads the runtime and all that the loader would load with it.
///
/// The libraries are looked for in the root file system that the program lies in: the nearest folder above it that has the program's
/// loader in its place.
///
/// # Errors
/// A file that is no program for this architecture; a library that is not found.
pub fn collect(program: &Path, architecture: Architecture) -> Result<Files, SetupError> {
    let content = read(program)?;
    let not_for = |path: &Path, what| SetupError::NotFor { path: path.to_owned(), what, architecture };
    let is_ours = |content: &[u8]| elf::machine(content) == Some(machine(architecture));
    let linking = elf::linking(&content).filter(|_| is_ours(&content)).ok_or_else(|| not_for(program, "program"))?;
    let mut files = Files::from([(PLACE.to_owned(), content)]);
    let Some(loader) = &linking.interpreter else { return Ok(files) };

    let no_root = || SetupError::NoLibrary { program: program.to_owned(), library: loader.clone(), root: top(program) };
    let program_path = program.canonicalize().map_err(|error| SetupError::file("find", program, error))?;
    let (root, found) =
        program_path.ancestors().skip(1).find_map(|root| Some((root, inside(root, loader)?))).ok_or_else(no_root)?;
    files.insert(loader.clone(), read(&found)?);

    let defaults = default_folders(loader, architecture);
    let mut done = BTreeSet::from([file_name(loader).to_owned()]);
    let here = program_path.strip_prefix(root).ok().and_then(Path::parent).map(|path| format!("/{}", path.display()));
    let mut open = vec![(program.to_owned(), here.unwrap_or_default(), linking)];
    while let Some((who, origin, linking)) = open.pop() {
        for library in linking.needed {
            if !done.insert(library.clone()) {
                continue;
            }
            let own = linking.folders.iter().map(|folder| folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin));
            let candidates = own.chain(defaults.iter().cloned()).map(|folder| format!("{folder}/{library}"));
            let mut found = candidates.filter_map(|path| {
                let content = fs::read(inside(root, &path)?).ok()?;
                let linking = elf::linking(&content).filter(|_| is_ours(&content))?;
                Some((path, content, linking))
            });
            let (path, content, linking) = found.next().ok_or_else(|| SetupError::NoLibrary {
                program: who.clone(),
                library: library.clone(),
                root: root.to_owned(),
            })?;
            let path = plain(&path);
            let folder = path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
            files.insert(path.clone(), content);
            open.push((root.join(path.trim_start_matches('/')), folder.unwrap_or_default(), linking));
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    fs::read(path).map_err(|error| SetupError::file("read", path, error))
}

fn top(program: &Path) -> PathBuf {
    program.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Where loaders look unasked: Debian's in folders of the architecture, others in plain ones, BitBake's below the place they were built for.
fn default_folders(loader: &str, architecture: Architecture) -> Vec<String> {
    let triplet = format!("{architecture}-linux-gnu");
    let beside = loader.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut folders: Vec<String> = ["/lib", "/usr/lib"].iter().map(|folder| format!("{folder}/{triplet}")).collect();
    folders.push(beside.to_owned());
    if let Some((above, name)) = beside.rsplit_once('/') {
        folders.push(format!("{above}/usr/{name}"));
    }
    folders.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(str::to_owned));
    folders
}

/// The same path without `.` and `..`.
fn plain(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The file that a path of a root file system leads to, with links as they are from inside. In releases where /lib is /usr/lib, packages
/// hold their files below /usr only.
fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let found = [path.to_owned(), format!("/usr{path}")];
    found.iter().find_map(|path| follow(root, path))
}

fn follow(root: &Path, path: &str) -> Option<PathBuf> {
    let mut open: Vec<_> = parts(Path::new(path));
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(part) = open.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(&part);
        let real = root.join(&at);
        if let Ok(target) = fs::read_link(&real) {
            links += 1;
            if links > MOST_LINKS {
                return None;
            }
            at.pop();
            if target.is_absolute() {
                at = PathBuf::new();
            }
            open.extend(parts(&target));
        }
    }
    let real = root.join(at);
    real.is_file().then_some(real)
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    let wanted = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// The architecture that these tests run on.
    fn here() -> Architecture {
        std::env::consts::ARCH.parse().unwrap()
    }

    fn other() -> Architecture {
        if here() == Architecture::X86_64 { Architecture::Aarch64 } else { Architecture::X86_64 }
    }

    #[test]
    fn a_dynamic_program_comes_with_its_loader_and_every_library() {
        let files = collect(Path::new("/usr/bin/crun"), here()).unwrap();
        let names: Vec<_> = files.keys().map(|path| file_name(path)).collect();
        for name in ["crun", "libc.so.6", "libseccomp.so.2", "libyajl.so.2"] {
            assert_eq!(names.iter().filter(|found| **found == name).count(), 1, "{name} in {names:?}");
        }
        // What the loader itself finds is the measure.
        let listed = std::process::Command::new("ldd").arg("/usr/bin/crun").output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let wanted = listed.lines().filter(|line| !line.contains("vdso")).count();
        assert_eq!(files.len(), wanted + 1, "{names:?}, but {listed}");
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/lib/a")).unwrap();
        fs::write(root.path().join("usr/lib/a/lib.so.1.2"), "").unwrap();
        symlink("/usr/lib", root.path().join("lib")).unwrap();
        symlink("../../../usr/lib/../lib/a/lib.so.1.2", root.path().join("usr/lib/a/lib.so.1")).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        let found = root.path().join("usr/lib/a/lib.so.1.2");
        assert_eq!(inside(root.path(), "/lib/a/lib.so.1"), Some(found.clone()));
        assert_eq!(inside(root.path(), "/lib/../../../lib/a/lib.so.1"), Some(found));
        assert_eq!(inside(root.path(), "/loop"), None);
        assert_eq!(inside(root.path(), "/usr/lib/a"), None, "a folder");
    }

    #[test]
    fn what_does_not_run_there_is_refused() {
        let error = |path: &str, architecture| collect(Path::new(path), architecture).unwrap_err().to_string();
        assert_eq!(error("/usr/bin/crun", other()), format!("/usr/bin/crun is no program for {}", other()));
        assert_eq!(error("/etc/passwd", here()), format!("/etc/passwd is no program for {}", here()));
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let lone = folder.path().join("usr/bin/crun");
        fs::create_dir_all(lone.parent().unwrap()).unwrap();
        fs::copy("/usr/bin/crun", &lone).unwrap();
        let loader = elf::linking(&fs::read(&lone).unwrap()).unwrap().interpreter.unwrap();
        let place = folder.path().join(loader.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&loader, &place).unwrap();
        let said = collect(&lone, here()).unwrap_err().to_string();
        assert!(said.contains(" needs lib") && said.ends_with(&format!("not in {}", folder.path().display())), "{said}");
    }
}
