//! Images from registries into layouts.
//!
//! [`Origin::find`] asks where an image is to be had, as registries.conf says it. A [`Puller`] brings what is below a manifest into a layout:
//! several blobs at once, each taken up where an earlier attempt ended, compared with its digest, and put together out of pieces of older
//! layers where those have them. Nothing of it is listed by the layout before [`take_in`].
#![forbid(unsafe_code)]

mod build;
mod fetch;
mod near;
mod older;
pub mod older_layers;
mod origin;
mod puller;

pub use fetch::{FetchError, Had};
pub use origin::{Origin, OriginError, Reach, authorities, reach};
pub use puller::{Puller, take_in};
