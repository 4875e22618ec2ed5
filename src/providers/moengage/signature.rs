//! The signature of the push API.

use sha2::{Digest, Sha256};

/// SHA-256 over workspace id, campaign name and push key, joined by pipes, in lower-case
/// hexadecimal. A plain digest, no HMAC; neither the payload nor the time is in it.
///
/// The page that describes it names the parts in another order; the provider's own OpenAPI file and
/// the code of others have this one.
pub(super) fn sign(workspace_id: &str, campaign_name: &str, push_key: &str) -> String {
    let mut digest = Sha256::new();
    for part in [workspace_id, "|", campaign_name, "|", push_key] {
        digest.update(part.as_bytes());
    }
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::Gateway;
    use crate::providers::moengage::tests::{gateway, planned, push};

    #[test]
    fn vectors() {
        for (name, expected) in [
            ("Order updates", "9685baefdc2d2ca0db047213812e24de37db23d39215b417ea583d9d09751ef7"),
            ("Five5", "ef7a57038946b9d10d9430a2a70f7f583ec077ca7cdbbcf43fca470e86007b35"),
            ("Grüße|A", "0e515318729ea9d2d708ef2fa92ea4f7cd6f56f14fe11e5d1ff287515e673933"),
        ] {
            assert_eq!(sign("DEMO01_DEBUG", name, "push-key-1"), expected, "{name}");
        }
    }

    #[test]
    fn the_body_signs_the_very_name_that_it_carries() {
        for name in
            ["Order updates", " Order updates ", "Grüße|A", "Gru\u{308}ße", "a \"b\" \\ c\n", "推送通知 👋"]
        {
            let mut payload = push("User");
            payload["campaignName"] = name.into();
            let request = gateway().request(&[&planned(&gateway(), payload)]);
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(body["campaignName"], name);
            assert_eq!(body["signature"], sign("DEMO01_DEBUG", name, "push-key-1"), "{name:?}");
        }
    }
}
