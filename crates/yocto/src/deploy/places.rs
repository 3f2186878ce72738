//! Where images are deployed.

use std::path::{Path, PathBuf};

/// Where to look for layouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// `DEPLOY_DIR_IMAGE`: the folder of one machine.
    Machine(PathBuf),
    /// `DEPLOY_DIR_IMAGES`: folders that hold machines' folders, one for each multiconfig with a `tmp` of its own. A machine's folder
    /// may stand among them.
    Machines(Vec<PathBuf>),
}

impl Places {
    /// Reads `DEPLOY_DIR_IMAGES`: paths separated by white space, as BitBake's lists are. A text that exists as a path as a whole is one
    /// path, and a word that does not exist as written may be several with `:` between them, as in other lists of paths.
    pub fn parse_list(text: &str) -> Self {
        let whole = Path::new(text.trim());
        if whole.exists() {
            return Self::Machines(vec![whole.to_path_buf()]);
        }
        let mut places = Vec::new();
        for word in text.split_whitespace() {
            if Path::new(word).exists() {
                places.push(PathBuf::from(word));
            } else {
                places.extend(word.split(':').filter(|part| !part.is_empty()).map(PathBuf::from));
            }
        }
        Self::Machines(places)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lists_are_separated_by_space_or_colon() {
        let paths = |text: &str| match Places::parse_list(text) {
            Places::Machines(paths) => paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>(),
            Places::Machine(path) => panic!("{path:?}"),
        };
        assert_eq!(paths(" /no/a\t/no/b\n"), ["/no/a", "/no/b"]);
        assert_eq!(paths("/no/a:/no/b: /no/c"), ["/no/a", "/no/b", "/no/c"]);
        assert!(paths("").is_empty() && paths(" : ").is_empty());
        let root = tempfile::tempdir().unwrap();
        let (spaced, colon) = (root.path().join("a b"), root.path().join("mc:one"));
        fs::create_dir(&spaced).unwrap();
        fs::create_dir(&colon).unwrap();
        assert_eq!(paths(&format!(" {} ", spaced.display())), [spaced.to_str().unwrap()]);
        assert_eq!(paths(&format!("{} /no/a:/no/b", colon.display())), [colon.to_str().unwrap(), "/no/a", "/no/b"]);
    }
}
