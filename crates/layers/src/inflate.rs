//! Gzip members decompressed by libdeflate, in one go.
//!
//! The wrapper that compresses here, `libdeflater`, does not tell where a member ended. Without that nobody knows whether something
//! follows it, and so this asks the library itself.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use libdeflate_sys as sys;

/// A decompressor, for one thread at a time.
pub(crate) struct Inflate(NonNull<sys::libdeflate_decompressor>);

// SAFETY: it is memory that nothing else points to, and that belongs to no thread.
unsafe impl Send for Inflate {}

impl Inflate {
    /// None when there is no memory for it.
    pub fn new() -> Option<Self> {
        // SAFETY: it has no conditions.
        NonNull::new(unsafe { sys::libdeflate_alloc_decompressor() }).map(Self)
    }

    /// Whether these bytes are one gzip member, its checksum and length right, whose content fills `out`.
    pub fn is_member(&mut self, bytes: &[u8], out: &mut [u8]) -> bool {
        let (mut read, mut written) = (0, 0);
        // SAFETY: the decompressor was made by `new`; pointers and lengths are those of slices, and the library keeps none of them.
        let result = unsafe {
            sys::libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                bytes.as_ptr().cast(),
                bytes.len(),
                out.as_mut_ptr().cast(),
                out.len(),
                &raw mut read,
                &raw mut written,
            )
        };
        result == sys::libdeflate_result_LIBDEFLATE_SUCCESS && read == bytes.len() && written == out.len()
    }
}

impl Drop for Inflate {
    fn drop(&mut self) {
        // SAFETY: `new` made it, and it is freed once.
        unsafe { sys::libdeflate_free_decompressor(self.0.as_ptr()) };
    }
}
