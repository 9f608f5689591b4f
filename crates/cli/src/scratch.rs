//! Scratch authorities on this machine, for the demo and the hammer: folders of their own, processes of this same program,
//! random numbers that a seed draws. Nothing of the person's is touched by them, and no process is left.

pub(crate) mod authority;
pub(crate) mod folder;
pub(crate) mod process;
pub(crate) mod random;
