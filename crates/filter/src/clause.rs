//! A compiled filter: what [`crate::compile`] makes and [`crate::eval`] evaluates.

use crate::regex::Regex;
use crate::set::Set;
use crate::value::Value;

/// A condition on the document.
#[derive(Debug)]
pub(crate) enum Clause {
    /// All tests hold for what is at the path.
    Field {
        path: Path,
        tests: Box<[Test]>,
    },
    /// `$and`, and the conditions side by side in an object or list.
    All(Box<[Clause]>),
    Any(Box<[Clause]>),
    /// `$nor`.
    Neither(Box<[Clause]>),
    Not(Box<Clause>),
    /// An operator that PHPMongoQuery does not know: it evaluates the first condition, then gives up with false.
    Unknown(Box<Clause>),
    Fault(Box<str>),
}

/// A dotted path.
pub(crate) type Path = Box<[Segment]>;

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) key: Box<str>,
    /// The key as the index of a list, where it is one.
    pub(crate) index: Option<usize>,
}

/// A test of what is at a path.
#[derive(Debug)]
pub(crate) enum Test {
    /// The tests inside do not all hold.
    Not(Box<[Test]>),
    Is(Op),
    /// Fails whatever is at the path.
    Fault(Box<str>),
}

#[derive(Debug)]
pub(crate) enum Op {
    Equal(Equality),
    NotEqual(Equality),
    Less(Value<'static>),
    LessOrEqual(Value<'static>),
    Greater(Value<'static>),
    GreaterOrEqual(Value<'static>),
    In(Set),
    NotIn(Set),
    All(Set),
    Exists(bool),
    Mod {
        divisor: Value<'static>,
        remainder: Value<'static>,
    },
    /// An operand of the wrong type, or an operator that does not exist: what it is where the path leads nowhere (`None`: a
    /// fault there too), else a fault.
    Refused {
        missing: Option<bool>,
        fault: Box<str>,
    },
}

/// What a value is compared with for equality.
#[derive(Debug)]
pub(crate) struct Equality {
    pub(crate) operand: Value<'static>,
    /// Set where the operand is a regular expression.
    pub(crate) regex: Option<Regex>,
}
