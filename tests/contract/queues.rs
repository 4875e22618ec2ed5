//! The queues on which the contract of [`Queue`] and [`Publisher`] is shown.
//!
//! A test is written once, for any [`Bench`], and named in [`on_every_queue`]; a further adapter is one
//! more bench and three more lines in that macro.

use std::future::Future;
use std::sync::Arc;

use paceline::ports::{Publisher, Queue};

mod embedded;
mod model;
mod rabbitmq;

pub use embedded::File;
pub use model::Model;
pub use rabbitmq::Rabbit;

/// A queue under test, with the places of the account `shop`.
pub trait Bench: Sized + Send + Sync + 'static {
    /// A process's way to it.
    type Port: Queue + Publisher + 'static;

    /// Starts one with nothing in it.
    fn start() -> impl Future<Output = Self> + Send;
    /// Connects one more process.
    fn connect(&self) -> impl Future<Output = Arc<Self::Port>> + Send;
}

/// Makes a test of each of these functions for every queue.
macro_rules! on_every_queue {
    ($($name:ident),* $(,)?) => {
        crate::contract::queues::on_every_shared_queue! { $($name),* }
        mod on_a_file {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() { super::$name::<crate::contract::queues::File>().await }
            )*
        }
    };
}

/// The same for tests that need several processes at once.
macro_rules! on_every_shared_queue {
    ($($name:ident),* $(,)?) => {
        mod on_rabbitmq {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() { super::$name::<crate::contract::queues::Rabbit>().await }
            )*
        }
        /// The simulation's broker, which must mean what the others mean.
        mod on_the_model {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() { super::$name::<crate::contract::queues::Model>().await }
            )*
        }
    };
}

pub(crate) use {on_every_queue, on_every_shared_queue};
