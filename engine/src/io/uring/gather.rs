//! What a vectored send points the kernel to.

use bytes::Bytes;

/// Parts of a message and their descriptions. Its memory is used by one send after the other.
///
/// ```text
/// header ──► vectors[..] ──► parts[..], each on the heap
/// ```
pub(super) struct Gather {
    parts: Vec<Bytes>,
    vectors: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Default for Gather {
    fn default() -> Self {
        // SAFETY: all zeros is a valid `msghdr`: no address, no vectors, no control data.
        let header = unsafe { std::mem::zeroed() };
        Self { parts: Vec::new(), vectors: Vec::new(), header }
    }
}

impl Gather {
    /// Takes the parts in. What the kernel may be pointed to lives as long as they are not taken
    /// out, at addresses that moving a box of this does not change.
    pub(super) fn fill(&mut self, parts: Vec<Bytes>) -> *const libc::msghdr {
        self.parts = parts;
        self.vectors.clear();
        self.vectors.extend(self.parts.iter().map(|part| libc::iovec {
            // The kernel only reads what is sent.
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        }));
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = self.vectors.len() as _;
        &raw const self.header
    }

    /// Gives the parts back, after the kernel is done with them.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.parts)
    }
}
