//! [`MessageError`]: a DNS message that is not valid.

/// The reason why bytes are not a message, or a name is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// They end too early.
    #[error("the DNS message ends too early")]
    Short,
    /// A name is too long, or its compression is not valid.
    #[error("a name in the DNS message makes no sense")]
    Name,
    /// Too many questions or records.
    #[error("the DNS message has implausibly many records")]
    TooMany,
}
