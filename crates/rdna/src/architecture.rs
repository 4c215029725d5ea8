//! [`Architecture`]: the two generations of the instruction set.

/// A generation of the instruction set. Each has numbers of its own for instructions that are otherwise the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// gfx10: RDNA 1 and 2. What only RDNA 2 has is known too.
    Gfx10,
    /// gfx11: RDNA 3 and 3.5.
    Gfx11,
}

impl Architecture {
    /// The generation with this major version of a target (10 of gfx1030); `None` if none of its code can run here.
    pub fn of_major(major: u8) -> Option<Self> {
        match major {
            10 => Some(Self::Gfx10),
            11 => Some(Self::Gfx11),
            _ => None,
        }
    }

    /// Position of its numbers in rows of the tables.
    pub(crate) fn column(self) -> usize {
        match self {
            Self::Gfx10 => 0,
            Self::Gfx11 => 1,
        }
    }
}
