//! The trace that a delivery belongs to, in the words of W3C Trace Context. It decides nothing.

use std::fmt;

/// Header: the span that whoever gets the message or request continues.
pub const PARENT: &str = "traceparent";
/// Header: what tracing systems add to it.
pub const STATE: &str = "tracestate";

/// The length of a `traceparent` of the version that is written here.
const LENGTH: usize = 55;
/// The longest `tracestate` that is passed on; shorter ones have to be, by the standard.
const LONGEST_STATE: usize = 512;
/// The flags that have a meaning: sampled, and random trace id.
const KNOWN_FLAGS: u8 = 0b11;

/// A span, as others are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The trace; never 0.
    pub trace: u128,
    /// The span; never 0.
    pub span: u64,
    /// Whether it is recorded, and more.
    pub flags: u8,
}

impl Parent {
    /// Reads a `traceparent`, of a later version as far as it is known; `None` for anything that is none.
    pub fn read(text: &str) -> Option<Self> {
        let (head, rest) = text.split_at_checked(LENGTH)?;
        let &[version, trace, span, flags] = head.split('-').collect::<Vec<_>>().as_slice() else {
            return None;
        };
        let version = u8::try_from(hex(version, 2)?).ok()?;
        let whole = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
        let parent = Self {
            trace: hex(trace, 32)?,
            span: u64::try_from(hex(span, 16)?).ok()?,
            flags: u8::try_from(hex(flags, 2)?).ok()? & KNOWN_FLAGS,
        };
        (whole && version != u8::MAX && parent.trace != 0 && parent.span != 0).then_some(parent)
    }
}

/// A number of so many hexadecimal digits, which are small letters by the standard.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let small = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let sound = text.len() == digits && text.bytes().all(small);
    sound.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// A span and what tracing systems add to it: what a message or a request carries on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The span.
    pub parent: Parent,
    /// The `tracestate`.
    pub state: Option<String>,
}

impl Context {
    /// Reads it from headers; `None` where they name no span that can be read.
    pub fn read(headers: &[(String, String)]) -> Option<Self> {
        let header = |name| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let parent = Parent::read(header(PARENT)?)?;
        Some(Self { parent, state: header(STATE).and_then(state) })
    }

    /// The headers that carry it.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let state = self.state.clone().map(|state| (STATE, state));
        std::iter::once((PARENT, self.parent.to_string())).chain(state)
    }
}

/// A `tracestate` that a header may carry.
fn state(text: &str) -> Option<String> {
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (printable && !text.is_empty() && text.len() <= LONGEST_STATE).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_written_again() {
        for text in [SOUND, "00-00000000000000000000000000000001-0000000000000001-00"] {
            assert_eq!(Parent::read(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = SOUND.replacen("00-", "cc-", 1);
        for text in [later.clone(), format!("{later}-what-comes"), later.replace("-01", "-fd")] {
            assert_eq!(Parent::read(&text).map(|read| read.to_string()).as_deref(), Some(SOUND), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_trace() {
        let broken = [
            String::new(),
            "00-1-2-01".into(),
            SOUND[..54].into(),
            format!("{SOUND}-more"),
            format!("{SOUND}0"),
            SOUND.to_uppercase(),
            SOUND.replacen("00-", "ff-", 1),
            SOUND.replacen("00-", "cc-", 1) + "x",
            SOUND.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            SOUND.replace("b7ad6b7169203331", &"0".repeat(16)),
            SOUND.replace('-', "_"),
            SOUND.replace("0af7", "+af7"),
            SOUND.replace("0af7", "0aü"),
            SOUND.replace("9c-b7", "9-cb7"),
            "ü".repeat(28),
        ];
        for text in broken {
            assert_eq!(Parent::read(&text), None, "{text}");
        }
    }

    #[test]
    fn headers_are_carried_on_as_far_as_they_are_sound() {
        let long = "v".repeat(513);
        for (state, kept) in [
            (None, None),
            (Some("a=1,b=2"), Some("a=1,b=2")),
            (Some("a=ü"), None),
            (Some("a\n"), None),
            (Some(""), None),
            (Some(long.as_str()), None),
        ] {
            let mut headers = vec![(PARENT.to_owned(), SOUND.to_owned())];
            headers.extend(state.map(|text| (STATE.to_owned(), text.to_owned())));
            let context = Context::read(&headers).unwrap();
            assert_eq!(context.state.as_deref(), kept);
            let written: Vec<_> = context.headers().collect();
            assert_eq!(written[0], (PARENT, SOUND.to_owned()));
            assert_eq!(written.get(1).map(|(_, text)| text.as_str()), kept);
        }
        let only_state = [(STATE.to_owned(), "a=1".to_owned())];
        assert_eq!(Context::read(&only_state), None);
    }
}
