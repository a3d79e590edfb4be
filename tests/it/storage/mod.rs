//! What our schema holds, and who may do what with it.

mod bounds;
mod rights;
