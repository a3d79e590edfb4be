//! The metadata of objects: the columns that are none of their properties.

/// The metadata of an object, by the names of the blob table's columns. A magic table's columns have a `_` before these names.
pub(crate) const METADATA: [&str; 38] = [
    "id",
    "uuid",
    "slug",
    "uri",
    "version",
    "register",
    "schema",
    "owner",
    "organisation",
    "application",
    "folder",
    "name",
    "description",
    "summary",
    "image",
    "size",
    "schema_version",
    "created",
    "updated",
    "expires",
    "published",
    "depublished",
    "files",
    "relations",
    "locked",
    "authorization",
    "validation",
    "deleted",
    "geo",
    "retention",
    "groups",
    "tmlo",
    "mail",
    "contacts",
    "notes",
    "todos",
    "calendar",
    "talk",
];

/// Whether a column of a magic table is metadata, by its name without the underscore.
pub(crate) fn is_metadata(name: &str) -> bool {
    METADATA.contains(&name) || name == "deck"
}
