//! Definitions as bytes, by hand: what is on disk does not change because a struct in memory did.
//!
//! The layout is in `docs/storage-format.md`, section "Catalog". Types are written as text ([`SqlType`]'s `Display`), so a new type needs no new version.

use std::sync::Arc;

use colonnade_types::{
    CheckConstraint, ColumnDefinition, ColumnId, Identity, IdentityKind, KeyConstraint, Oid, Relation,
    SchemaDefinition, SequenceDefinition, SqlType, StorageId, TableDefinition, ViewColumn, ViewDefinition,
};

use super::{Catalog, CatalogEdit};
use crate::codec::{CodecError, Decoder, Encoder};

/// Version of the encoding that is written. It stands before a catalog and before every edit.
pub const CATALOG_VERSION: u8 = 1;

/// Appends a whole catalog: version, schemas, relations, comments.
pub fn encode_catalog(out: &mut Encoder, catalog: &Catalog) {
    out.u8(CATALOG_VERSION);
    out.count(catalog.schemas.len());
    for schema in catalog.schemas() {
        put_schema(out, schema);
    }
    out.count(catalog.relations.len());
    for relation in catalog.relations() {
        put_relation(out, relation);
    }
    out.count(catalog.comments.len());
    for ((object, sub), text) in catalog.comments.iter() {
        put_oid(out, *object);
        out.varint(u64::from(*sub));
        out.str(text);
    }
}

/// Reads what [`encode_catalog`] wrote, checking the catalog's invariants again.
///
/// # Errors
/// [`CodecError`] if the bytes are no catalog, or of a newer version.
pub fn decode_catalog(input: &mut Decoder<'_>) -> Result<Catalog, CodecError> {
    check_version(input)?;
    let mut catalog = Catalog::default();
    let mut apply = |input: &Decoder<'_>, edit: &CatalogEdit| {
        catalog.apply(edit).map_err(|error| input.error(format!("expected a consistent catalog: {error}")))
    };
    for _ in 0..input.count(3)? {
        let schema = get_schema(input)?;
        apply(input, &CatalogEdit::PutSchema(schema))?;
    }
    for _ in 0..input.count(4)? {
        let relation = get_relation(input)?;
        apply(input, &CatalogEdit::PutRelation(relation))?;
    }
    for _ in 0..input.count(3)? {
        let (object, sub) = (get_oid(input)?, input.varint_u32()?);
        let text = Some(input.string()?);
        apply(input, &CatalogEdit::PutComment { object, sub, text })?;
    }
    Ok(catalog)
}

/// Appends one edit: version, kind, content.
pub fn encode_edit(out: &mut Encoder, edit: &CatalogEdit) {
    out.u8(CATALOG_VERSION);
    match edit {
        CatalogEdit::PutSchema(schema) => {
            out.u8(1);
            put_schema(out, schema);
        }
        CatalogEdit::DropSchema(oid) => {
            out.u8(2);
            put_oid(out, *oid);
        }
        CatalogEdit::PutRelation(relation) => {
            out.u8(3);
            put_relation(out, relation);
        }
        CatalogEdit::DropRelation(oid) => {
            out.u8(4);
            put_oid(out, *oid);
        }
        CatalogEdit::PutComment { object, sub, text } => {
            out.u8(5);
            put_oid(out, *object);
            out.varint(u64::from(*sub));
            out.option(text.as_deref(), Encoder::str);
        }
    }
}

/// Reads what [`encode_edit`] wrote.
///
/// # Errors
/// [`CodecError`] if the bytes are no edit, or of a newer version.
pub fn decode_edit(input: &mut Decoder<'_>) -> Result<CatalogEdit, CodecError> {
    check_version(input)?;
    Ok(match input.u8()? {
        1 => CatalogEdit::PutSchema(get_schema(input)?),
        2 => CatalogEdit::DropSchema(get_oid(input)?),
        3 => CatalogEdit::PutRelation(get_relation(input)?),
        4 => CatalogEdit::DropRelation(get_oid(input)?),
        5 => CatalogEdit::PutComment {
            object: get_oid(input)?,
            sub: input.varint_u32()?,
            text: input.option(Decoder::string)?,
        },
        other => return Err(input.error(format!("expected a kind of catalog edit up to 5, found {other}"))),
    })
}

fn check_version(input: &mut Decoder<'_>) -> Result<(), CodecError> {
    match input.u8()? {
        CATALOG_VERSION => Ok(()),
        other => Err(input.error(format!("expected catalog version {CATALOG_VERSION}, found {other}"))),
    }
}

fn put_oid(out: &mut Encoder, oid: Oid) {
    out.varint(u64::from(oid.0));
}

fn get_oid(input: &mut Decoder<'_>) -> Result<Oid, CodecError> {
    input.varint_u32().map(Oid)
}

fn put_column(out: &mut Encoder, column: ColumnId) {
    out.varint(u64::from(column.0));
}

fn get_column(input: &mut Decoder<'_>) -> Result<ColumnId, CodecError> {
    input.varint_u32().map(ColumnId)
}

fn put_type(out: &mut Encoder, sql_type: &SqlType) {
    out.str(&sql_type.to_string());
}

fn get_type(input: &mut Decoder<'_>) -> Result<SqlType, CodecError> {
    let text = input.str()?;
    SqlType::parse(text).ok_or_else(|| input.error(format!("expected a type, found \"{text}\"")))
}

fn put_optional_str(out: &mut Encoder, text: Option<&String>) {
    out.option(text, |out, text| out.str(text));
}

fn put_schema(out: &mut Encoder, schema: &SchemaDefinition) {
    put_oid(out, schema.oid);
    out.str(&schema.name);
    out.str(&schema.owner);
}

fn get_schema(input: &mut Decoder<'_>) -> Result<SchemaDefinition, CodecError> {
    Ok(SchemaDefinition { oid: get_oid(input)?, name: input.string()?, owner: input.string()? })
}

fn put_relation(out: &mut Encoder, relation: &Relation) {
    out.u8(match relation {
        Relation::Table(_) => 1,
        Relation::View(_) => 2,
        Relation::Sequence(_) => 3,
    });
    put_oid(out, relation.oid());
    put_oid(out, relation.schema());
    out.str(relation.name());
    match relation {
        Relation::Table(table) => put_table(out, table),
        Relation::View(view) => put_view(out, view),
        Relation::Sequence(sequence) => put_sequence(out, sequence),
    }
}

fn get_relation(input: &mut Decoder<'_>) -> Result<Relation, CodecError> {
    let kind = input.u8()?;
    let head = Head { oid: get_oid(input)?, schema: get_oid(input)?, name: input.string()? };
    Ok(match kind {
        1 => Relation::Table(Arc::new(get_table(input, head)?)),
        2 => Relation::View(Arc::new(get_view(input, head)?)),
        3 => Relation::Sequence(Arc::new(get_sequence(input, head)?)),
        other => return Err(input.error(format!("expected a kind of relation up to 3, found {other}"))),
    })
}

/// What every relation begins with.
struct Head {
    oid: Oid,
    schema: Oid,
    name: String,
}

fn put_table(out: &mut Encoder, table: &TableDefinition) {
    out.str(&table.owner);
    out.count(table.columns.len());
    for column in &table.columns {
        put_column_definition(out, column);
    }
    put_column(out, table.next_column);
    out.count(table.checks.len());
    for check in &table.checks {
        put_oid(out, check.oid);
        out.str(&check.name);
        out.str(&check.expression);
    }
    out.count(table.keys.len());
    for key in &table.keys {
        put_oid(out, key.oid);
        put_oid(out, key.index);
        out.str(&key.name);
        put_columns(out, &key.columns);
        out.bool(key.primary);
        out.bool(key.nulls_not_distinct);
    }
    put_columns(out, &table.sort_key);
    out.varint(table.storage.0);
}

fn get_table(input: &mut Decoder<'_>, head: Head) -> Result<TableDefinition, CodecError> {
    Ok(TableDefinition {
        oid: head.oid,
        schema: head.schema,
        name: head.name,
        owner: input.string()?,
        columns: input.list(7, get_column_definition)?,
        next_column: get_column(input)?,
        checks: input.list(3, |input| {
            Ok(CheckConstraint { oid: get_oid(input)?, name: input.string()?, expression: input.string()? })
        })?,
        keys: input.list(6, |input| {
            Ok(KeyConstraint {
                oid: get_oid(input)?,
                index: get_oid(input)?,
                name: input.string()?,
                columns: input.list(1, get_column)?,
                primary: input.bool()?,
                nulls_not_distinct: input.bool()?,
            })
        })?,
        sort_key: input.list(1, get_column)?,
        storage: StorageId(input.varint()?),
    })
}

fn put_columns(out: &mut Encoder, columns: &[ColumnId]) {
    out.count(columns.len());
    for column in columns {
        put_column(out, *column);
    }
}

fn put_column_definition(out: &mut Encoder, column: &ColumnDefinition) {
    put_column(out, column.id);
    out.str(&column.name);
    put_type(out, &column.sql_type);
    out.bool(column.not_null);
    put_optional_str(out, column.default.as_ref());
    out.option(column.identity.as_ref(), |out, identity| {
        out.u8(match identity.kind {
            IdentityKind::Always => 1,
            IdentityKind::ByDefault => 2,
        });
        put_oid(out, identity.sequence);
    });
    put_optional_str(out, column.missing.as_ref());
}

fn get_column_definition(input: &mut Decoder<'_>) -> Result<ColumnDefinition, CodecError> {
    Ok(ColumnDefinition {
        id: get_column(input)?,
        name: input.string()?,
        sql_type: get_type(input)?,
        not_null: input.bool()?,
        default: input.option(Decoder::string)?,
        identity: input.option(|input| {
            let kind = match input.u8()? {
                1 => IdentityKind::Always,
                2 => IdentityKind::ByDefault,
                other => return Err(input.error(format!("expected a kind of identity up to 2, found {other}"))),
            };
            Ok(Identity { kind, sequence: get_oid(input)? })
        })?,
        missing: input.option(Decoder::string)?,
    })
}

fn put_view(out: &mut Encoder, view: &ViewDefinition) {
    out.str(&view.owner);
    out.count(view.columns.len());
    for column in &view.columns {
        out.str(&column.name);
        put_type(out, &column.sql_type);
    }
    out.str(&view.query);
    out.count(view.depends_on.len());
    for oid in &view.depends_on {
        put_oid(out, *oid);
    }
}

fn get_view(input: &mut Decoder<'_>, head: Head) -> Result<ViewDefinition, CodecError> {
    Ok(ViewDefinition {
        oid: head.oid,
        schema: head.schema,
        name: head.name,
        owner: input.string()?,
        columns: input.list(2, |input| Ok(ViewColumn { name: input.string()?, sql_type: get_type(input)? }))?,
        query: input.string()?,
        depends_on: input.list(1, get_oid)?,
    })
}

fn put_sequence(out: &mut Encoder, sequence: &SequenceDefinition) {
    out.str(&sequence.owner);
    put_type(out, &sequence.sql_type);
    for number in [sequence.start, sequence.increment, sequence.min, sequence.max, sequence.cache] {
        out.zigzag(number);
    }
    out.bool(sequence.cycle);
    out.option(sequence.owned_by, |out, (table, column)| {
        put_oid(out, table);
        put_column(out, column);
    });
}

fn get_sequence(input: &mut Decoder<'_>, head: Head) -> Result<SequenceDefinition, CodecError> {
    Ok(SequenceDefinition {
        oid: head.oid,
        schema: head.schema,
        name: head.name,
        owner: input.string()?,
        sql_type: get_type(input)?,
        start: input.zigzag()?,
        increment: input.zigzag()?,
        min: input.zigzag()?,
        max: input.zigzag()?,
        cache: input.zigzag()?,
        cycle: input.bool()?,
        owned_by: input.option(|input| Ok((get_oid(input)?, get_column(input)?)))?,
    })
}
