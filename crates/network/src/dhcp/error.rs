//! [`Malformed`]: a DHCP message that is not valid.

/// The reason why bytes are not a DHCP message for Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is too short.
    #[error("a DHCP message has at least 240 bytes")]
    Short,
    /// It is for another kind of link.
    #[error("neither a BOOTP request nor a reply for Ethernet")]
    Link,
    /// It is BOOTP without DHCP's options.
    #[error("no magic cookie of DHCP")]
    Cookie,
    /// An option claims to be longer than the rest of the message.
    #[error("an option is cut off")]
    Option,
}
