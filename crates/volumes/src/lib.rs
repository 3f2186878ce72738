//! Folders of the host, shared with a guest: the answers to its FUSE requests, given as the calling user.
