//! A field of the documented payload.

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Integer,
    Number,
    Bool,
    Time,
    List,
    Map,
    /// Any JSON.
    Any,
}

/// A field of the documented payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) nullable: bool,
    /// Whether some generations of OpenRegister lack it.
    pub(super) optional: bool,
    pub(super) about: &'static str,
}

pub(super) const fn always(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field {
        name,
        shape,
        nullable: false,
        optional: false,
        about,
    }
}

pub(super) const fn or_null(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field {
        nullable: true,
        ..always(name, shape, about)
    }
}

pub(super) const fn newer(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field {
        nullable: true,
        optional: true,
        ..always(name, shape, about)
    }
}
