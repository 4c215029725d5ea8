//! [`structures`]: declares structures of the kernel's interfaces to user space.

/// Declares structures that are laid out as in C, and read from and written to bytes.
macro_rules! structures {
    ($($(#[$note:meta])* $name:ident { $($(#[$field_note:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$note])*
            #[derive(Debug, Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
            #[repr(C)]
            #[allow(clippy::struct_field_names, reason = "the kernel's names")]
            pub(crate) struct $name { $($(#[$field_note])* pub(crate) $field: $kind,)* }
        )*
    };
}

pub(crate) use structures;
