//! What was found and done, for programs. Pure.

use std::path::Path;

use serde_json::{Value, json};

use super::{Dropped, Listing, Replayed};

/// A listing.
pub fn list_json(listing: &Listing) -> Value {
    let Listing { total, matched, groups, letters, next, stopped } = listing;
    let next = next.as_ref().map(ToString::to_string);
    json!({
        "total": total, "matched": matched, "groups": groups, "letters": letters, "next": next, "stopped": stopped,
    })
}

/// A replay.
pub fn replay_json(replayed: &Replayed, dry_run: bool) -> Value {
    let Replayed { total, replayed: done, left, failed, groups, missing, stopped } = replayed;
    json!({
        "total": total, "replayed": done, "stay": left, "failed": failed, "groups": groups,
        "missing": missing, "stopped": stopped, "dryRun": dry_run,
    })
}

/// What was dropped, and the file that keeps it.
pub fn drop_json(dropped: &Dropped, path: &Path) -> Value {
    let Dropped { total, dropped: done, missing, stopped } = dropped;
    let file = (*done > 0).then(|| path.display().to_string());
    json!({"total": total, "dropped": done, "file": file, "missing": missing, "stopped": stopped})
}
