//! Text with tones: what it is worth to the eye, apart from how a terminal writes that. Pure.

/// What a piece of text is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Strong,
    /// What may be overlooked.
    Faint,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Something is wrong.
    Bad,
    /// What is being told now.
    Accent,
    /// What moves: sends.
    Flow,
}

impl Tone {
    /// The parameters of the terminal's "select graphic rendition", from its own 16 colours: they
    /// fit a dark and a bright background.
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Faint => "90",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "1;31",
            Self::Accent => "1;36",
            Self::Flow => "36",
        }
    }
}

/// One line of pieces. Every character takes one column: all texts are ours, or names of letters,
/// digits and dashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(Tone, String)>);

impl Line {
    /// A line of one piece.
    pub(super) fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self::default().add(tone, text)
    }

    /// The same with one more piece.
    #[must_use]
    pub(super) fn add(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push((tone, text.into()));
        self
    }

    /// The same with another line behind it.
    #[must_use]
    pub(super) fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The same with `other` at the right edge of `width` columns; without it where both don't fit.
    #[must_use]
    pub(super) fn edge(self, other: Self, width: usize) -> Self {
        let room = width.saturating_sub(self.width() + other.width());
        if room == 0 { self } else { self.add(Tone::Plain, " ".repeat(room)).join(other) }
    }

    /// How many columns it takes.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// The same, cut off at `width` columns with a mark.
    #[must_use]
    pub(super) fn fit(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut room = width.saturating_sub(1);
        let mut cut = Self::default();
        for (tone, text) in self.0 {
            let part: String = text.chars().take(room).collect();
            room -= part.chars().count();
            cut.0.push((tone, part));
        }
        if width == 0 { cut } else { cut.add(Tone::Faint, "…") }
    }

    /// The characters alone.
    pub(super) fn plain(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect::<String>().trim_end().to_owned()
    }

    /// As a terminal takes it, with or without colours.
    pub(super) fn written(&self, colours: bool) -> String {
        if !colours {
            return self.plain();
        }
        let mut text = String::new();
        for (tone, piece) in self.0.iter().filter(|(_, piece)| !piece.is_empty()) {
            match tone.code() {
                "" => text.push_str(piece),
                code => text.push_str(&format!("\x1b[{code}m{piece}\x1b[0m")),
            }
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_its_width() {
        let line = || Line::of(Tone::Strong, "abc").add(Tone::Plain, "def");
        for (width, expected) in [(9, "abcdef"), (6, "abcdef"), (5, "abcd…"), (3, "ab…"), (1, "…"), (0, "")]
        {
            assert_eq!(line().fit(width).plain(), expected, "{width}");
        }
        assert_eq!(line().edge(Line::of(Tone::Faint, "x"), 10).plain(), "abcdef   x");
        assert_eq!(line().edge(Line::of(Tone::Faint, "xxxx"), 10).plain(), "abcdef");
    }

    #[test]
    fn without_colours_nothing_but_characters_is_written() {
        let line = Line::of(Tone::Bad, "no").add(Tone::Plain, " way");
        assert_eq!(line.written(true), "\x1b[1;31mno\x1b[0m way");
        assert_eq!(line.written(false), "no way");
    }
}
