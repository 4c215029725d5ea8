//! What the kernel says of the machine in `/proc`: [`Memory`] and [`Processors`].

mod memory;
mod processors;

pub use memory::Memory;
pub use processors::Processors;
