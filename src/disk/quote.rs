//! Paths and other people's words in messages: one line, and nothing that a terminal obeys, whatever bytes a file
//! name, a worker or a list has.

use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Displays a path, control characters and bytes that are not UTF-8 as escapes.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(
    /// The path to show.
    pub &'a Path,
);

/// Displays a path as [`Escaped`], between single quotes.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(
    /// The path to show.
    pub &'a Path,
);

/// Displays text that comes from a file, a worker or a list: in one line, with escapes as [`Escaped`] has them, and
/// without its middle where it is longer than [`Text::LONGEST`]. The cause of an error stands last in its message.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a>(
    /// The text to show.
    pub &'a str,
);

/// Displays a message of this program, which may have several lines. Every other control character in it has come from
/// elsewhere, and is escaped.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a>(
    /// The message to show.
    pub &'a str,
);

/// Whether a terminal obeys this character instead of showing it: control characters, and those that change the
/// direction or the line of what follows.
#[must_use]
pub fn is_command(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn write_escaped(f: &mut impl Write, character: char) -> fmt::Result {
    if is_command(character) { write!(f, "{}", character.escape_default()) } else { f.write_char(character) }
}

impl Text<'_> {
    /// In characters, escapes included.
    pub const LONGEST: usize = 500;

    /// How many of them are the end of the text.
    const END: usize = 100;
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = String::with_capacity(self.0.len());
        self.0.chars().try_for_each(|character| write_escaped(&mut shown, character))?;
        let length = shown.chars().count();
        if length <= Self::LONGEST {
            return f.write_str(&shown);
        }
        let place = |number: usize| shown.char_indices().nth(number).map_or(shown.len(), |(place, _)| place);
        let (cut, end) = (place(Self::LONGEST - Self::END - 1), place(length - Self::END));
        write!(f, "{}…{}", &shown[..cut], &shown[end..])
    }
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\n' => f.write_char('\n'),
            other => write_escaped(f, other),
        })
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_os_str().as_bytes().utf8_chunks() {
            chunk.valid().chars().try_for_each(|character| write_escaped(f, character))?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", Escaped(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn a_path_stays_on_one_line_whatever_bytes_it_has() {
        let path = Path::new(OsStr::from_bytes(b"/a\nb/\xff.py"));
        assert_eq!(Quoted(path).to_string(), r"'/a\nb/\xff.py'");
    }

    #[test]
    fn a_text_is_one_line_of_500_characters_with_its_end() {
        assert_eq!(Text("über\u{1b}[2J\r\n\u{202e}").to_string(), r"über\u{1b}[2J\r\n\u{202e}");
        for (text, is_cut) in
            [("ü".repeat(500), false), ("ü".repeat(501), true), ("\n".repeat(1 << 20), true)]
        {
            let shown = Text(&text).to_string();
            assert_eq!((shown.chars().count(), shown.contains('…')), (500, is_cut));
        }
        let shown =
            Text(&format!("cannot rename 'a{}': No space left on device", "b".repeat(1000))).to_string();
        assert!(shown.starts_with("cannot rename 'ab") && shown.ends_with("': No space left on device"));
    }

    #[test]
    fn the_lines_of_a_message_stay_lines() {
        assert_eq!(Lines("a\nhint: b\u{9b}1m\t\n").to_string(), "a\nhint: b\\u{9b}1m\\t\n");
    }
}
