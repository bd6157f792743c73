//! Paths in messages: one line, whatever bytes a file name has.

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

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_os_str().as_bytes().utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    control if control.is_control() => write!(f, "{}", control.escape_default())?,
                    plain => f.write_char(plain)?,
                }
            }
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
}
