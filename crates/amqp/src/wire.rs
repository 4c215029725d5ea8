//! AMQP's elementary types (specification, 4.2.5), big-endian.

/// Reads a method's arguments. Every method returns `None` at the end of the bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        self.bytes(LENGTH)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A short string: at most 255 bytes. What is not UTF-8 is replaced.
    pub(crate) fn short(&mut self) -> Option<String> {
        let length = self.u8()?;
        self.bytes(length.into()).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// A long string.
    pub(crate) fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(length.try_into().ok()?)
    }

    /// A table, whose contents are of no interest.
    pub(crate) fn skip_table(&mut self) -> Option<()> {
        self.long().map(drop)
    }
}

/// Writes a method's arguments.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// A short string; what is beyond 255 bytes is left out.
    pub(crate) fn short(&mut self, text: &str) -> &mut Self {
        let bytes = text.as_bytes();
        let bytes = bytes.get(..255).unwrap_or(bytes);
        self.0.push(bytes.len() as u8);
        self.0.extend(bytes);
        self
    }

    /// A long string.
    pub(crate) fn long(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32);
        self.0.extend(bytes);
        self
    }

    /// A table of these entries.
    pub(crate) fn table(&mut self, entries: &[(&str, Value<'_>)]) -> &mut Self {
        let mut inner = Self::default();
        for (name, value) in entries {
            inner.short(name);
            match value {
                Value::Text(text) => inner.u8(b'S').long(text.as_bytes()),
                Value::Number(number) => inner.u8(b'I').u32(*number),
                Value::Yes => inner.u8(b't').u8(1),
                Value::Table(entries) => inner.u8(b'F').table(entries),
            };
        }
        self.long(&inner.0)
    }
}

/// A value of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    /// At most 2³¹ - 1: AMQP's number is signed.
    Number(u32),
    Yes,
    Table(&'a [(&'a str, Value<'a>)]),
}
