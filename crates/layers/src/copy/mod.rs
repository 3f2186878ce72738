//! Files carried from one machine to another: an archive is made of what lies at a [`Place`], and is unpacked at a [`Destination`].
//!
//! Both sides may be a stranger's. Who sends never follows a link, except on the way to the place where the files lie, and there by a function
//! that is given: it decides what the root is. Who receives never leaves the folder that was opened before the first byte came, whatever the
//! archive says and whatever others do in that folder meanwhile: names that climb are refused, and so is a link on the way to a file.

mod attributes;
mod destination;
mod place;
mod receive;
mod remove;
mod send;

pub use attributes::Owners;
pub use destination::{Destination, DestinationError, Source};
pub use place::{Place, asserts_folder, base_name};
pub use receive::{Receiver, Skipped};
pub use send::{Hollow, Sender};

/// Directories that lie in each other at most: each is open while what is in it is carried.
const DEPTH_MAX: usize = 400;

/// Bytes that are read and written at once.
const BUFFER: usize = 128 << 10;
