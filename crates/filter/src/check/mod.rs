//! Checks of a filter without a document: legal parts that can never match, and what was probably meant.

mod nearest;
mod operators;
mod paths;

pub(crate) use self::operators::{
    divisor, refused_regex, regex_in_list, regex_on_list, unknown_logical_operator, unknown_operator,
};
pub(crate) use self::paths::path;
