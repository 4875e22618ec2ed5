//! Who makes a campaign call: Basic authentication with the workspace id and the campaign API key,
//! and the workspace id once more in a header of its own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};

/// A workspace and the key that it shows. Holds a credential: no `Debug`.
pub(super) struct Access {
    pub(super) workspace: String,
    pub(super) key: String,
}

/// `None` where one of the headers is missing or no such header, or they name two workspaces.
pub(super) fn read(headers: &HeaderMap) -> Option<Access> {
    let basic = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = basic.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (workspace, key) = pair.split_once(':')?;
    let repeated = headers.get("moe-appkey")?.to_str().ok()?;
    let whole = !workspace.is_empty() && !key.is_empty() && repeated == workspace;
    whole.then(|| Access { workspace: workspace.to_owned(), key: key.to_owned() })
}
