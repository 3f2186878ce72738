//! What a Yocto build leaves behind, and what its images are to be called.
#![forbid(unsafe_code)]
