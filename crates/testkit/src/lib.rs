//! A disk that fails, a clock that waits, a model that is obviously right.
//!
//! For tests only. Everything here is deterministic: what happens depends on the calls made and on seeds given, never on time or on the machine.
//!
//! | module | one sentence |
//! |---|---|
//! | [`sim_disk`] | A disk in memory with a live and a durable image, which fails or loses its power at a chosen call. |
//! | [`manual_clock`] | A clock that moves when it is told to. |
//! | [`random`] | A small generator of random numbers whose sequence never changes. |

pub mod manual_clock;
pub mod random;
pub mod sim_disk;

pub use manual_clock::ManualClock;
pub use random::Random;
pub use sim_disk::{Fault, SimDisk, Survival};
