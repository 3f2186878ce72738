//! What a Yocto build leaves behind, and what its images are to be called.
//!
//! [`deploy`] finds the layouts of a build, [`tags`] works out their tags from what [`git`], the clock and a [`version`] tell,
//! [`labels`] says which labels an image gets by itself, [`words`] reads lists in BitBake's variables,
//! [`architecture`] translates between the two vocabularies of architectures, and [`script`] writes `container-registry.sh`. Nothing
//! here opens a socket or reads an image: what a layout says of itself, the caller passes in.
#![forbid(unsafe_code)]

pub mod architecture;
pub mod deploy;
pub mod git;
pub mod labels;
pub mod script;
pub mod tags;
pub mod vdkr_conf;
pub mod version;
pub mod words;
