//! Views whose subjects do not exist here, or do not vary.

use colonnade_types::Oid;

use super::view;
use crate::functions::names::ROLES;
use crate::functions::value::Value;
use crate::pg_catalog::view::{SystemView, row};

const fn empty(number: u32, name: &'static str, columns: &'static str) -> SystemView {
    SystemView { schema: Oid::INFORMATION_SCHEMA, oid: Oid(13_100 + number), name, kind: "v", columns, rows: None }
}

pub(super) const CHARACTER_SETS: SystemView = view(
    40,
    "character_sets",
    "character_set_catalog name, character_set_schema name, character_set_name name, character_repertoire name,
        form_of_use name, default_collate_catalog name, default_collate_schema name, default_collate_name name",
    |source| {
        let database = source.info.database_name();
        Ok(vec![row![Value::Null, Value::Null, "UTF8", "UCS", "UTF8", database, "pg_catalog", "C"]])
    },
);

pub(super) const ENABLED_ROLES: SystemView = view(41, "enabled_roles", "role_name name", |_| {
    let roles = ROLES.iter();
    Ok(roles.map(|(_, name)| row![*name]).collect())
});

pub(super) const APPLICABLE_ROLES: SystemView =
    empty(42, "applicable_roles", "grantee name, role_name name, is_grantable text");

pub(super) const REFERENTIAL_CONSTRAINTS: SystemView = empty(
    43,
    "referential_constraints",
    "constraint_catalog name, constraint_schema name, constraint_name name, unique_constraint_catalog name,
        unique_constraint_schema name, unique_constraint_name name, match_option text, update_rule text,
        delete_rule text",
);

pub(super) const ROUTINES: SystemView = empty(
    44,
    "routines",
    "specific_catalog name, specific_schema name, specific_name name, routine_catalog name, routine_schema name,
        routine_name name, routine_type text, data_type text, type_udt_name name, routine_body text,
        routine_definition text, external_name text, external_language text, is_deterministic text,
        security_type text",
);

pub(super) const PARAMETERS: SystemView = empty(
    45,
    "parameters",
    "specific_catalog name, specific_schema name, specific_name name, ordinal_position int4, parameter_mode text,
        parameter_name name, data_type text, udt_name name, parameter_default text",
);

pub(super) const TRIGGERS: SystemView = empty(
    46,
    "triggers",
    "trigger_catalog name, trigger_schema name, trigger_name name, event_manipulation text,
        event_object_catalog name, event_object_schema name, event_object_table name, action_order int4,
        action_condition text, action_statement text, action_orientation text, action_timing text",
);

pub(super) const DOMAINS: SystemView = empty(
    47,
    "domains",
    "domain_catalog name, domain_schema name, domain_name name, data_type text, domain_default text, udt_name name",
);

pub(super) const ELEMENT_TYPES: SystemView = empty(
    48,
    "element_types",
    "object_catalog name, object_schema name, object_name name, object_type text, collection_type_identifier name,
        data_type text, udt_name name",
);

const PRIVILEGE: &str = "grantor name, grantee name, table_catalog name, table_schema name, table_name name,
        privilege_type text, is_grantable text, with_hierarchy text";

pub(super) const TABLE_PRIVILEGES: SystemView = empty(49, "table_privileges", PRIVILEGE);

pub(super) const COLUMN_PRIVILEGES: SystemView = empty(
    50,
    "column_privileges",
    "grantor name, grantee name, table_catalog name, table_schema name, table_name name, column_name name,
        privilege_type text, is_grantable text",
);
