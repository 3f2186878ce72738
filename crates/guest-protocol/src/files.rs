//! What is done with the files of a container.

use serde::{Deserialize, Serialize};

use crate::Text;

/// Something that is done with the files of a container. Paths are looked up as its processes would, with `/` as the current folder: links never lead
/// out of its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "kebab-case")]
pub enum FileWork {
    /// Send what lies at a path, as a tar archive.
    Export {
        /// The path.
        path: Text,
        /// What it is called in the archive; `.` for the root.
        name: Text,
        /// Whether a link at that path is followed. One in a path that ends with a slash is.
        follow_link: bool,
    },
    /// Unpack a tar archive.
    Import {
        /// Where, by Docker's rules.
        path: Text,
        /// What the archive holds.
        source: Copied,
        /// Whether the files belong to whom the archive says; otherwise to root.
        keeps_owners: bool,
    },
    /// Send what the container has changed in its image, as a tar archive: what was removed is a character device 0:0, and a folder that hides the
    /// image's has the attribute `trusted.overlay.opaque`.
    Changes {
        /// Whether its processes stand still meanwhile.
        pause: bool,
    },
}

/// What an archive that is unpacked holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "copied", rename_all = "kebab-case")]
pub enum Copied {
    /// A folder, which is the archive's root.
    Folder {
        /// Its name; `None` when not the folder but what is in it is copied.
        name: Option<Text>,
    },
    /// Another file, which is the archive's root.
    File {
        /// Its name.
        name: Text,
    },
    /// Files with names of their own.
    Archive,
}
