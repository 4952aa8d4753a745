//! Reading numbers off the front of bytes that may be anything.

/// The first `N` bytes of `rest`, which then begins behind them; `None` if there are fewer.
pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}
