//! What can be said of a request without knowing any group: sizes, names and timeouts.
//!
//! Whatever passes here fits into the records of its group.

use super::api::{CommitRequest, JoinRequest, Request, SyncRequest};
use super::error::GroupError;
use super::id::{GroupId, InstanceId};
use super::member;
use super::settings::{
    GROUP_METADATA_BYTES_MAX, MEMBER_METADATA_BYTES_MAX, NAME_BYTES_MAX, PROTOCOLS_MAX, Settings,
};

/// Checks a request.
pub(super) fn check(request: &Request, settings: &Settings) -> Result<(), GroupError> {
    match request {
        Request::Join(join) => check_join(join, settings),
        Request::Sync(sync) => check_sync(sync),
        Request::Heartbeat(heartbeat) => check_named(&heartbeat.group_id),
        Request::Leave(leave) => check_named(&leave.group_id),
        Request::Commit(commit) => check_commit(commit),
        // These only look for a group. Old consumers may have one without a name.
        Request::Fetch(_)
        | Request::Describe { .. }
        | Request::List(_)
        | Request::Delete { .. } => Ok(()),
    }
}

fn check_join(join: &JoinRequest, settings: &Settings) -> Result<(), GroupError> {
    check_named(&join.group_id)?;
    let (min_ms, max_ms) = (settings.session_timeout_min_ms, settings.session_timeout_max_ms);
    if !(min_ms..=max_ms).contains(&join.session_timeout_ms) {
        let actual_ms = join.session_timeout_ms;
        return Err(GroupError::InvalidSessionTimeout { actual_ms, min_ms, max_ms });
    }
    check_size("the group id", join.group_id.as_str().len(), NAME_BYTES_MAX)?;
    check_size("the client id", join.client_id.len(), NAME_BYTES_MAX)?;
    check_size("the client host", join.client_host.len(), NAME_BYTES_MAX)?;
    check_size("the member id's suffix", join.member_id_suffix.len(), NAME_BYTES_MAX / 2)?;
    check_size("the protocol type", join.protocol_type.as_str().len(), NAME_BYTES_MAX)?;
    let instance_bytes = join.instance_id.as_ref().map_or(0, |id: &InstanceId| id.as_str().len());
    check_size("the group instance id", instance_bytes, NAME_BYTES_MAX)?;
    for protocol in &join.protocols {
        check_size("the protocol name", protocol.name.as_str().len(), NAME_BYTES_MAX)?;
    }
    if join.protocols.len() > PROTOCOLS_MAX {
        return Err(GroupError::TooManyProtocols {
            actual: join.protocols.len(),
            allowed: PROTOCOLS_MAX,
        });
    }
    let metadata_bytes = member::metadata_bytes(&join.protocols);
    check_size("the metadata of the member", metadata_bytes, MEMBER_METADATA_BYTES_MAX)
}

fn check_sync(sync: &SyncRequest) -> Result<(), GroupError> {
    check_named(&sync.group_id)?;
    let assignment_bytes = sync.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
    check_size("the assignment of the group", assignment_bytes, GROUP_METADATA_BYTES_MAX)
}

fn check_commit(commit: &CommitRequest) -> Result<(), GroupError> {
    check_size("the group id", commit.group_id.as_str().len(), NAME_BYTES_MAX)?;
    commit.topics.iter().try_for_each(|topic| {
        check_size("the topic name", topic.topic.as_str().len(), NAME_BYTES_MAX)
    })
}

fn check_named(group_id: &GroupId) -> Result<(), GroupError> {
    if group_id.is_empty() { Err(GroupError::InvalidGroupId) } else { Ok(()) }
}

fn check_size(
    what: &'static str,
    actual_bytes: usize,
    allowed_bytes: usize,
) -> Result<(), GroupError> {
    if actual_bytes <= allowed_bytes {
        return Ok(());
    }
    Err(GroupError::TooLarge { what, actual_bytes, allowed_bytes })
}
