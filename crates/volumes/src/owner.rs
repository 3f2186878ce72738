//! Who a file belongs to.

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

impl Owner {
    /// Root and its group.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}
