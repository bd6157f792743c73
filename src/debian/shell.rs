//! The simple commands of a shell script, as far as they can be read without running it.
//!
//! Owns quoting, comments, redirections and here-documents (POSIX, "Shell Command Language"). A command in which a word
//! depends on something that only a shell knows (a variable, a glob) is left out. Conditions are not evaluated: a
//! command counts whether or not it would be reached.

use std::iter::Peekable;
use std::str::Chars;

/// A word, or what separates commands.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// `None`: only a shell knows it.
    Word(Option<String>),
    /// The end of a command.
    End,
}

/// What may stand before a command.
const KEYWORDS: [&str; 9] = ["if", "then", "else", "elif", "do", "while", "until", "!", "{"];

/// The arguments with which a script calls `program`, call by call.
#[must_use]
pub(super) fn calls(script: &str, program: &str) -> Vec<Vec<String>> {
    let tokens = Tokens { characters: script.chars().peekable(), heredocs: Vec::new() }.read();
    let commands = tokens.split(|token| *token == Token::End);
    commands.filter_map(|command| arguments(command, program)).collect()
}

/// The arguments of a command, if it is a call of `program` that can be read.
fn arguments(command: &[Token], program: &str) -> Option<Vec<String>> {
    let words = command.iter().map(|token| match token {
        Token::Word(word) => word.as_deref(),
        Token::End => None,
    });
    let is_before =
        |word: &Option<&str>| word.is_some_and(|word| KEYWORDS.contains(&word) || is_assignment(word));
    let mut words = words.skip_while(is_before);
    let name = words.next()??;
    if name.rsplit('/').next() != Some(program) {
        return None;
    }
    words.map(|word| word.map(str::to_owned)).collect()
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// The reader of a script.
struct Tokens<'a> {
    characters: Peekable<Chars<'a>>,
    /// The ends of the here-documents that begin on the next line.
    heredocs: Vec<String>,
}

impl Tokens<'_> {
    fn read(mut self) -> Vec<Token> {
        let mut tokens = Vec::new();
        while let Some(&next) = self.characters.peek() {
            match next {
                ' ' | '\t' => self.skip(),
                '#' => while self.characters.next_if(|&next| next != '\n').is_some() {},
                '\n' => {
                    self.skip();
                    self.skip_heredocs();
                    tokens.push(Token::End);
                }
                ';' | '&' | '|' | '(' | ')' => {
                    self.skip();
                    tokens.push(Token::End);
                }
                '<' | '>' => self.redirection(),
                _ => match self.word() {
                    Some(word) if self.is_descriptor(word.as_deref()) => {}
                    Some(word) => tokens.push(Token::Word(word)),
                    None => {}
                },
            }
        }
        tokens
    }

    fn skip(&mut self) {
        self.characters.next();
    }

    /// Whether a word that ends here is the number in `2>file`.
    fn is_descriptor(&mut self, word: Option<&str>) -> bool {
        let is_number = word.is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        is_number && matches!(self.characters.peek(), Some('<' | '>'))
    }

    /// Skips `>file`, `2>&1` (whose number has been read) and the like.
    fn redirection(&mut self) {
        let mut operator = String::new();
        while let Some(character) = self.characters.next_if(|next| "<>&|-".contains(*next)) {
            operator.push(character);
        }
        while self.characters.next_if(|next| " \t".contains(*next)).is_some() {}
        let word = self.word().flatten().unwrap_or_default();
        if operator.starts_with("<<") {
            self.heredocs.push(word);
        }
    }

    /// Skips the here-documents that begin on this line.
    fn skip_heredocs(&mut self) {
        for end in std::mem::take(&mut self.heredocs) {
            while self.characters.peek().is_some() {
                let mut line = String::new();
                line.extend(self.characters.by_ref().take_while(|&character| character != '\n'));
                if line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
    }

    /// Reads a word, `Some(None)` if only a shell knows it; `None` where there is none.
    fn word(&mut self) -> Option<Option<String>> {
        let (mut word, mut is_there, mut is_known) = (String::new(), false, true);
        while let Some(next) = self.characters.next_if(|next| !" \t\n;&|()<>".contains(*next)) {
            is_there = true;
            match next {
                '\'' => word.extend(self.characters.by_ref().take_while(|&next| next != '\'')),
                '"' => is_known &= self.double_quoted(&mut word),
                '\\' => match self.characters.next() {
                    // The line goes on.
                    Some('\n') => is_there = !word.is_empty(),
                    escaped => word.extend(escaped),
                },
                '$' | '`' | '*' | '?' | '[' => is_known = false,
                '~' if word.is_empty() => is_known = false,
                plain => word.push(plain),
            }
        }
        is_there.then_some(is_known.then_some(word))
    }

    /// Reads what is between double quotes; whether it is known without a shell.
    fn double_quoted(&mut self, word: &mut String) -> bool {
        let mut is_known = true;
        while let Some(next) = self.characters.next() {
            match next {
                '"' => return is_known,
                '\\' => match self.characters.next() {
                    Some('\n') | None => {}
                    Some(escaped @ ('$' | '`' | '"' | '\\')) => word.push(escaped),
                    Some(other) => word.extend(['\\', other]),
                },
                '$' | '`' => is_known = false,
                plain => word.push(plain),
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(script: &str) -> Vec<Vec<String>> {
        calls(script, "py3compile")
    }

    #[test]
    fn the_snippet_of_dh_python3_is_read() {
        let script = "#!/bin/sh\nset -e\n# Automatically added by dh_python3\nif command -v py3compile >/dev/null 2>&1; then\n\
                      \tpy3compile -p pkg /usr/share/pkg -V 3.9- -X 'a'\\''b.*' || true\nfi\n\
                      if command -v pypy3compile >/dev/null 2>&1; then\n\tpypy3compile -p pkg /usr/share/pkg || true\nfi\n";
        assert_eq!(called(script), [["-p", "pkg", "/usr/share/pkg", "-V", "3.9-", "-X", "a'b.*"]]);
    }

    #[test]
    fn what_others_write_is_read_too() {
        for script in [
            "py3compile -p pkg /a",
            "\t/usr/bin/py3compile -p \\\n\t  pkg /a # why",
            "case $1 in configure) py3compile -p \"pkg\" /a;; esac",
            "[ -x /usr/bin/py3compile ] && LC_ALL=C py3compile -p pkg '/a' 2>/dev/null >&2 <x",
            "if ! py3compile -p pkg \"/\"a; then :; fi",
            "cat >x <<EOF\nit's a text; py3compile -p text /b\nEOF\npy3compile -p pkg /a",
            "cat <<-'END' | sort\n\tdon't\n\tEND\n{ py3compile -p pkg \\/a; }",
        ] {
            assert_eq!(called(script), [["-p", "pkg", "/a"]], "{script}");
        }
    }

    #[test]
    fn what_only_a_shell_knows_is_left_out() {
        for script in [
            "py3compile -p pkg $DIR",
            "py3compile -p pkg \"/a/$x\"",
            "py3compile -p `name` /a",
            "py3compile -p pkg /a/*",
            "py3compile -p pkg ~/a",
            "py3compile -p pkg \"/a",
            "# py3compile -p pkg /a",
            "echo py3compile -p pkg /a",
            "which py3compile",
            "cat <<EOF\npy3compile -p pkg /a",
        ] {
            assert_eq!(called(script), Vec::<Vec<String>>::new(), "{script}");
        }
    }
}
