//! Writes rows the way OpenRegister does: the same statements, in the same order, in the same transactions.
//!
//! Guarantees: every statement commits by itself on one connection, as Nextcloud's do; one method is one HTTP request (its
//! rows share a request id); an object's row comes first, then its activity row, then its audit row. The ids of other
//! entities are read with `lastval()`, as Nextcloud reads them, so a writer fails if anybody else uses a sequence in its
//! session. All of this comes from recordings of real installations.

mod entities;
mod error;
mod objects;
mod place;
mod rows;
mod session;
mod tables;
mod trail;

pub use entities::EntityRow;
pub use error::WriterError;
pub use place::{Object, Place};
pub use rows::{ORGANISATION, Row};
pub use session::Writer;
