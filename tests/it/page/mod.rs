//! The page: who gets in, what every action does, and what strangers cannot do to it.

mod access;
mod actions;
mod attacks;
mod browser;
mod check;
mod strangers;
pub(crate) mod visitor;
