//! [`Pattern`]: the constant words of a message, with placeholders for the variable parts.
//!
//! `{n}` is a number, decimal or hexadecimal, `{n+}` one that is not 0, `{w}` a word without blanks, `{}` any text,
//! and `{mca}` a machine check status of an error that was not corrected. A pattern has to match at the beginning of
//! a message; the rest of the message does not matter. Nor does case, except after `{}`.

/// Bits of a status of AMD's machine check architecture (AMD64 Architecture Programmer's Manual, volume 2, section 9):
/// uncorrected, processor context corrupt, deferred, poison.
const NOT_CORRECTED: u64 = 1 << 61 | 1 << 57 | 1 << 44 | 1 << 43;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Words(&'static str),
    Number,
    Positive,
    Word,
    Any,
    Status,
}

/// The constant words and placeholders of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Token>);

impl Pattern {
    /// Parses a pattern of the catalogue.
    pub(crate) fn new(text: &'static str) -> Self {
        let (mut tokens, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let holders = [
                ("{n}", Token::Number),
                ("{n+}", Token::Positive),
                ("{w}", Token::Word),
                ("{}", Token::Any),
                ("{mca}", Token::Status),
            ];
            if let Some((holder, token)) = holders.into_iter().find(|(holder, _)| rest.starts_with(holder)) {
                tokens.push(token);
                rest = rest.get(holder.len()..).unwrap_or_default();
                continue;
            }
            // A brace that does not begin a placeholder is part of the message.
            let next = rest.char_indices().skip(1).find(|(at, char)| {
                *char == '{'
                    && holders.iter().any(|(holder, _)| rest.get(*at..).is_some_and(|rest| rest.starts_with(holder)))
            });
            let end = next.map_or(rest.len(), |(at, _)| at);
            tokens.push(Token::Words(rest.get(..end).unwrap_or(rest)));
            rest = rest.get(end..).unwrap_or_default();
        }
        Self(tokens)
    }

    /// The first byte of matching messages, in lower case; `None` if it may be any.
    pub(crate) fn first(&self) -> Option<u8> {
        match self.0.first() {
            Some(Token::Words(words)) => words.as_bytes().first().map(u8::to_ascii_lowercase),
            _ => None,
        }
    }

    /// The number of constant bytes at the beginning.
    #[cfg(test)]
    pub(crate) fn anchored(&self) -> usize {
        match self.0.first() {
            Some(Token::Words(words)) => words.len(),
            _ => 0,
        }
    }

    /// The texts at the placeholders; `None` if the message does not match.
    pub(crate) fn find<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let mut found = Vec::new();
        matches(&self.0, text, &mut found).then_some(found)
    }
}

fn matches<'t>(tokens: &[Token], text: &'t str, found: &mut Vec<&'t str>) -> bool {
    let Some((token, rest)) = tokens.split_first() else { return true };
    match token {
        Token::Words(words) => strip(text, words).is_some_and(|text| matches(rest, text, found)),
        Token::Number | Token::Positive | Token::Status => {
            let length = number_length(text);
            let Some((number, after)) = text.split_at_checked(length).filter(|_| length > 0) else { return false };
            let fits = match token {
                Token::Positive => value(number) != Some(0),
                Token::Status => value(number).is_some_and(|status| status & NOT_CORRECTED != 0),
                _ => true,
            };
            if !fits {
                return false;
            }
            found.push(number);
            matches(rest, after, found)
        }
        Token::Word | Token::Any => {
            // The next token determines the end: the first place where the rest matches.
            let limit =
                if *token == Token::Word { text.find(char::is_whitespace).unwrap_or(text.len()) } else { text.len() };
            let least = usize::from(*token == Token::Word);
            if rest.is_empty() {
                found.push(text.get(..limit).unwrap_or_default());
                return limit >= least;
            }
            let depth = found.len();
            // Most messages do not have the words at all.
            if let Some(Token::Words(words)) = rest.first()
                && *token == Token::Any
                && memchr::memmem::find(text.as_bytes(), words.as_bytes()).is_none()
            {
                return false;
            }
            for (at, _) in text.char_indices().chain([(text.len(), ' ')]) {
                if at > limit {
                    break;
                }
                if at < least || !may_begin(rest, text.as_bytes().get(at).copied()) {
                    continue;
                }
                found.push(text.get(..at).unwrap_or_default());
                if matches(rest, text.get(at..).unwrap_or_default(), found) {
                    return true;
                }
                found.truncate(depth);
            }
            false
        }
    }
}

fn may_begin(tokens: &[Token], byte: Option<u8>) -> bool {
    match tokens.first() {
        Some(Token::Words(words)) => {
            words.as_bytes().first().zip(byte).is_some_and(|(first, byte)| first.eq_ignore_ascii_case(&byte))
        }
        _ => true,
    }
}

/// The rest of a text after these words, ignoring case.
pub(crate) fn strip<'t>(text: &'t str, words: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(words.len())?;
    start.eq_ignore_ascii_case(words).then_some(rest)
}

fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let prefix = if matches!(bytes.get(sign..sign + 2), Some(b"0x" | b"0X")) { sign + 2 } else { sign };
    let digits = bytes.iter().skip(prefix).take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 { 0 } else { prefix + digits }
}

fn value(number: &str) -> Option<u64> {
    match number.strip_prefix("0x").or_else(|| number.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(pattern: &'static str, text: &str) -> Option<Vec<String>> {
        Some(Pattern::new(pattern).find(text)?.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn place_holders_take_what_differs() {
        let found =
            find("ring {w} timeout, signaled seq={n}", "ring gfx_0.0.0 timeout, signaled seq=14, emitted seq=16");
        assert_eq!(found, Some(vec!["gfx_0.0.0".into(), "14".into()]));
        assert_eq!(
            find("hw_init of IP block <{w}> failed {n}", "hw_init of IP block <psp> failed -22").unwrap()[1],
            "-22"
        );
        assert!(find("{n+} uncorrectable", "0 uncorrectable").is_none());
        assert!(find("{n+} uncorrectable", "1 uncorrectable").is_some());
        assert!(find("poison is", "Poison is created").is_some());
        assert!(find("{}: Failed to resume KFD", "worker: Failed to resume KFD").is_some());
        assert!(find("a{w}c", "abb c").is_none(), "a word has no blanks");
        assert!(find("x", "ring x").is_none(), "only at the beginning");
    }

    #[test]
    fn a_corrected_machine_check_is_another_message() {
        assert!(find("STATUS={mca}", "STATUS=0x98000800003e0000").is_some(), "poison");
        assert!(find("STATUS={mca}", "STATUS=0xb400000000040400").is_some(), "uncorrected");
        assert!(find("STATUS={mca}", "STATUS=0x9c20000000030400").is_none(), "corrected");
    }

    proptest! {
        #[test]
        fn any_text_is_compared(text in "\\PC{0,60}") {
            for pattern in ["{}a{}b{}c", "{w}{n}{}", "{n+}é{w}", "{{n}}"] {
                let _ = Pattern::new(pattern).find(&text);
            }
        }
    }
}
