//! A compiled filter: what [`crate::compile`] makes and [`crate::eval`] evaluates.

use crate::regex::Regex;
use crate::set::Set;
use crate::value::Value;

/// A condition on the document.
#[derive(Debug)]
pub(crate) enum Clause {
    /// All tests must hold for the value at the path.
    Field {
        path: Path,
        tests: Box<[Test]>,
    },
    /// `$and`, and the conditions beside each other in an object or list.
    All(Box<[Clause]>),
    Any(Box<[Clause]>),
    /// `$nor`.
    Neither(Box<[Clause]>),
    Not(Box<Clause>),
    /// An operator that PHPMongoQuery does not know: it evaluates the first condition, then answers false.
    Unknown(Box<Clause>),
    /// Evaluating it fails with this message.
    Fault(Box<str>),
}

/// A dotted path.
pub(crate) type Path = Box<[Segment]>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Segment {
    pub(crate) key: Box<str>,
    /// The key as the index of a list, if it can be one.
    pub(crate) index: Option<usize>,
}

/// A test of the value at a path.
#[derive(Debug)]
pub(crate) enum Test {
    /// At least one of the tests inside must not hold.
    Not(Box<[Test]>),
    Is(Op),
    /// Fails for every value.
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
    /// An operand of the wrong type, or an operator that does not exist. `missing` is the answer if there is no value at the path
    /// (`None`: a fault as well); with a value it is a fault.
    Refused {
        missing: Option<bool>,
        fault: Box<str>,
    },
}

/// The operand of a test for equality.
#[derive(Debug)]
pub(crate) struct Equality {
    pub(crate) operand: Value<'static>,
    /// Set if the operand is a regular expression.
    pub(crate) regex: Option<Regex>,
}
