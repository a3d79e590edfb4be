//! Where an object is stored.

/// The register and schema that an object belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub register: i64,
    pub schema: i64,
}

impl Place {
    /// Register `people`, schema `person`, as the seed rows have them.
    pub const PEOPLE: Self = Self {
        register: 1,
        schema: 1,
    };

    /// The table of its objects in 0.2.13.
    #[must_use]
    pub fn table(self) -> String {
        format!("oc_openregister_table_{}_{}", self.register, self.schema)
    }
}

/// An object that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub place: Place,
    pub id: i64,
    pub uuid: String,
}
