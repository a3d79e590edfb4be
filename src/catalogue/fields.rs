//! The fields of every kind of entity in the documented format.

use super::field::{Field, Shape, always, newer, or_null};
use orw_model::EntityKind;

use Shape::{Any, Bool, Integer, List, Map, Number, Text, Time};

const ID: Field = always("id", Integer, "The numeric id of the row.");
const UUID: Field = or_null("uuid", Text, "");
const CREATED: Field = or_null("created", Time, "");
const UPDATED: Field = or_null("updated", Time, "");
const ORGANISATION: Field = or_null("organisation", Text, "The organisation's uuid.");
const OWNER: Field = or_null("owner", Text, "The uid of the owner.");
const DESCRIPTION: Field = or_null("description", Text, "");
const TITLE_AS_NAME: Field = always("name", Text, "The title.");
const TITLE: Field = always("title", Text, "");

/// Things that objects, registers, schemas and organisations may be linked to.
const LINKS: [Field; 7] = [
    newer("mail", Any, "Linked messages."),
    newer("contacts", Any, "Linked contacts."),
    newer("notes", Any, "Linked notes."),
    newer("todos", Any, "Linked tasks."),
    newer("calendar", Any, "Linked calendar entries."),
    newer("talk", Any, "Linked conversations of Talk."),
    newer("deck", Any, "Linked cards of Deck."),
];

const OBJECT: [Field; 36] = [
    ID,
    UUID,
    or_null(
        "register",
        Text,
        "The register's slug. Without a slug it is the uuid, and if the register is gone the numeric id as text.",
    ),
    or_null(
        "schema",
        Text,
        "The schema's slug; otherwise as for the register.",
    ),
    always(
        "data",
        Map,
        "The properties, under their names and with their types in the schema.",
    ),
    ORGANISATION,
    CREATED,
    UPDATED,
    Field {
        shape: Any,
        ..or_null("version", Text, "`0.0.2`; null if OpenRegister keeps none.")
    },
    OWNER,
    or_null("name", Text, ""),
    DESCRIPTION,
    or_null("summary", Text, ""),
    or_null("image", Text, ""),
    or_null("slug", Text, ""),
    or_null("uri", Text, ""),
    or_null("application", Text, ""),
    or_null("folder", Text, "The id of the folder that holds its files."),
    or_null("size", Any, ""),
    or_null("schemaVersion", Text, ""),
    newer("expires", Time, ""),
    newer("published", Time, ""),
    newer("depublished", Time, ""),
    always("locked", Bool, "Whether it is locked."),
    or_null("lock", Map, "`{user, at, expires}` while it is locked."),
    or_null("deleted", Map, "`{by, at, reason}` if it was deleted softly."),
    newer("files", Any, ""),
    newer("relations", Any, ""),
    newer("authorization", Any, ""),
    newer("validation", Any, ""),
    newer("geo", Any, ""),
    newer("retention", Any, ""),
    newer("groups", Any, ""),
    newer("tmlo", Any, ""),
    or_null("registerId", Integer, ""),
    or_null("registerUuid", Text, ""),
];

/// The rest of [`OBJECT`].
const OBJECT_SCHEMA: [Field; 2] = [or_null("schemaId", Integer, ""), or_null("schemaUuid", Text, "")];

const REGISTER: [Field; 22] = [
    ID,
    UUID,
    TITLE_AS_NAME,
    or_null("version", Text, ""),
    TITLE,
    DESCRIPTION,
    always("schemas", List, "The numeric ids of its schemas."),
    or_null("source", Text, ""),
    or_null("tablePrefix", Text, ""),
    UPDATED,
    CREATED,
    or_null("folder", Text, ""),
    or_null("slug", Text, ""),
    OWNER,
    or_null("application", Text, ""),
    ORGANISATION,
    or_null("authorization", Map, "Who may do what."),
    or_null("deleted", Time, ""),
    newer("groups", List, ""),
    newer("configuration", Map, ""),
    newer("languages", List, ""),
    newer("type", Text, ""),
];

const PUBLICATION: [Field; 2] = [newer("published", Time, ""), newer("depublished", Time, "")];

const SCHEMA: [Field; 28] = [
    ID,
    UUID,
    TITLE_AS_NAME,
    or_null("version", Text, ""),
    TITLE,
    DESCRIPTION,
    or_null("summary", Text, ""),
    or_null("required", List, "The required properties."),
    or_null("properties", Map, "The properties' definitions."),
    UPDATED,
    CREATED,
    or_null("hardValidation", Bool, ""),
    or_null("archive", Map, ""),
    or_null("source", Text, ""),
    or_null("maxDepth", Integer, ""),
    or_null("slug", Text, ""),
    OWNER,
    or_null("application", Text, ""),
    ORGANISATION,
    or_null("authorization", Map, "Who may do what."),
    or_null("deleted", Time, ""),
    newer("icon", Text, ""),
    newer("groups", List, ""),
    newer("immutable", Bool, ""),
    newer("configuration", Map, ""),
    newer("facets", Map, ""),
    newer("searchable", Bool, ""),
    newer("allOf", Any, ""),
];

const SCHEMA_REST: [Field; 6] = [
    newer("oneOf", Any, ""),
    newer("anyOf", Any, ""),
    newer("hooks", Any, ""),
    newer(
        "appendOnly",
        Bool,
        "Whether OpenRegister refuses to change or delete its objects, so that they give nothing but ObjectCreatedEvent.",
    ),
    newer("smartPickerEnabled", Bool, ""),
    newer(
        "draft",
        Any,
        "The next definition, while somebody is still modelling it.",
    ),
];

const APPLICATION: [Field; 15] = [
    ID,
    UUID,
    always("name", Text, ""),
    DESCRIPTION,
    or_null("version", Text, ""),
    ORGANISATION,
    newer("active", Bool, ""),
    newer("configurations", List, "Numeric ids."),
    newer("registers", List, "Numeric ids."),
    newer("schemas", List, "Numeric ids."),
    OWNER,
    CREATED,
    UPDATED,
    newer("groups", List, ""),
    newer("authorization", Map, "Who may do what."),
];

const APPLICATION_QUOTA: [Field; 1] = [newer("quota", Map, "`{storage, bandwidth, requests}`.")];

const AGENT: [Field; 30] = [
    ID,
    or_null(
        "uuid",
        Text,
        "OpenRegister gives an agent a new uuid at every update.",
    ),
    always("name", Text, ""),
    DESCRIPTION,
    or_null("type", Text, ""),
    or_null("provider", Text, ""),
    or_null("model", Text, ""),
    or_null("prompt", Text, ""),
    or_null("temperature", Number, ""),
    or_null("maxTokens", Integer, ""),
    or_null("configuration", Map, ""),
    ORGANISATION,
    OWNER,
    or_null("active", Bool, ""),
    or_null("enableRag", Bool, ""),
    or_null("ragSearchMode", Text, ""),
    or_null("ragNumSources", Integer, ""),
    or_null("ragIncludeFiles", Bool, ""),
    or_null("ragIncludeObjects", Bool, ""),
    newer("requestQuota", Integer, ""),
    newer("tokenQuota", Integer, ""),
    newer("groups", List, ""),
    CREATED,
    UPDATED,
    newer("views", List, ""),
    newer("searchFiles", Bool, ""),
    newer("searchObjects", Bool, ""),
    newer("isPrivate", Bool, ""),
    newer("invitedUsers", List, ""),
    newer("tools", List, ""),
];

const AGENT_USER: [Field; 1] = [newer("user", Text, "")];

const SOURCE: [Field; 24] = [
    ID,
    UUID,
    TITLE_AS_NAME,
    TITLE,
    DESCRIPTION,
    or_null("version", Text, ""),
    or_null(
        "databaseUrl",
        Text,
        "Its password is masked; the whole of it if it is not clear which part is the password.",
    ),
    or_null("type", Text, ""),
    UPDATED,
    CREATED,
    newer("organisation", Text, "The organisation's uuid."),
    newer("syncEnabled", Bool, ""),
    newer("syncSchedule", Text, ""),
    newer("syncInterval", Integer, ""),
    newer("lastSyncDate", Time, ""),
    newer("lastSyncStatus", Text, ""),
    newer("lastSyncToken", Text, "Masked."),
    newer("authType", Text, ""),
    newer("authConfig", Text, "Masked as a whole."),
    newer("mappingId", Any, ""),
    newer("targetRegister", Text, ""),
    newer("targetSchema", Text, ""),
    newer("conflictStrategy", Text, ""),
    newer("deleteStrategy", Text, ""),
];

const SOURCE_BATCH: [Field; 1] = [newer("batchSize", Integer, "")];

const CONFIGURATION: [Field; 37] = [
    ID,
    UUID,
    TITLE_AS_NAME,
    TITLE,
    DESCRIPTION,
    or_null("type", Text, ""),
    or_null("registers", List, "Numeric ids."),
    or_null("version", Text, ""),
    OWNER,
    CREATED,
    UPDATED,
    newer("app", Text, ""),
    newer("schemas", List, "Numeric ids."),
    newer("objects", List, "Numeric ids."),
    newer("sourceType", Text, ""),
    newer("sourceUrl", Text, ""),
    newer("localVersion", Text, ""),
    newer("remoteVersion", Text, ""),
    newer("lastChecked", Time, ""),
    newer("autoUpdate", Bool, ""),
    newer("notificationGroups", List, ""),
    newer("githubRepo", Text, ""),
    newer("githubBranch", Text, ""),
    newer("githubPath", Text, ""),
    newer("organisation", Text, "The organisation's uuid."),
    newer("views", List, "Numeric ids."),
    newer("agents", List, "Numeric ids."),
    newer("sources", List, "Numeric ids."),
    newer("applications", List, "Numeric ids."),
    newer("isLocal", Bool, ""),
    newer("syncEnabled", Bool, ""),
    newer("syncInterval", Integer, ""),
    newer("lastSyncDate", Time, ""),
    newer("syncStatus", Text, ""),
    newer("openregister", Text, "The versions of OpenRegister that it fits."),
    newer("mappings", List, ""),
    newer("application", Text, "The same as `app`."),
];

const VIEW: [Field; 13] = [
    ID,
    UUID,
    always("name", Text, ""),
    DESCRIPTION,
    OWNER,
    or_null("isPublic", Bool, ""),
    or_null("isDefault", Bool, ""),
    or_null("query", Map, ""),
    or_null("favoredBy", List, "Uids."),
    CREATED,
    UPDATED,
    newer("organisation", Text, "The organisation's uuid."),
    newer("presentation", Any, ""),
];

const CONVERSATION: [Field; 10] = [
    ID,
    UUID,
    or_null("title", Text, ""),
    or_null("userId", Text, "The uid of the owner."),
    ORGANISATION,
    or_null("agentId", Integer, ""),
    or_null("metadata", Map, ""),
    or_null("deletedAt", Time, "When it was deleted softly."),
    CREATED,
    UPDATED,
];

const ORGANISATION_FIELDS: [Field; 27] = [
    ID,
    UUID,
    always("name", Text, ""),
    DESCRIPTION,
    CREATED,
    UPDATED,
    or_null("users", List, "The uids of its members."),
    OWNER,
    or_null("slug", Text, ""),
    newer("authorization", Map, "Who may do what."),
    newer("parent", Text, "The uuid of the organisation above it."),
    newer("active", Bool, ""),
    newer("status", Text, ""),
    newer("environment", Text, ""),
    newer("provisionedAt", Time, ""),
    newer("suspendedAt", Time, ""),
    newer("deprovisionedAt", Time, ""),
    newer("groups", List, ""),
    newer(
        "oin",
        Text,
        "The organisation's number (OIN) in the Dutch government.",
    ),
    newer("tooi", Text, ""),
    newer("isLocalTenant", Bool, ""),
    newer("remoteInstanceUrl", Text, ""),
    newer("contactEmail", Text, ""),
    newer("defaultPermissionLevel", Text, ""),
    newer("qualityScore", Integer, ""),
    newer("qualityStatus", Text, ""),
    newer("retainedAt", Time, ""),
];

/// The fields of a kind, in the order of the payload where the payload has an order.
pub(super) fn fields(kind: EntityKind) -> Vec<Field> {
    let parts: &[&[Field]] = match kind {
        EntityKind::Object => &[&OBJECT, &OBJECT_SCHEMA, &LINKS],
        EntityKind::Register => &[&REGISTER, &PUBLICATION, &LINKS],
        EntityKind::Schema => &[&SCHEMA, &SCHEMA_REST, &PUBLICATION, &LINKS],
        EntityKind::Application => &[&APPLICATION, &APPLICATION_QUOTA],
        EntityKind::Agent => &[&AGENT, &AGENT_USER],
        EntityKind::Source => &[&SOURCE, &SOURCE_BATCH],
        EntityKind::Configuration => &[&CONFIGURATION],
        EntityKind::View => &[&VIEW],
        EntityKind::Conversation => &[&CONVERSATION],
        EntityKind::Organisation => &[&ORGANISATION_FIELDS, &LINKS],
    };
    parts.concat()
}
