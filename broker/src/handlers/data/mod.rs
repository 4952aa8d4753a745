//! Writing and reading records.

pub mod fetch;
pub mod init_producer_id;
pub mod list_offsets;
pub mod produce;
