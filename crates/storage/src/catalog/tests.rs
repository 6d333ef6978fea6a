//! Edits, their checks, and the bytes.

use colonnade_types::{
    CheckConstraint, ColumnDefinition, ColumnId, Identity, IdentityKind, KeyConstraint, SequenceDefinition, SqlType,
    StorageId, TableDefinition, ViewColumn, ViewDefinition,
};
use proptest::prelude::*;

use super::*;
use crate::codec::{Decoder, Encoder};

fn table(oid: u32, name: &str, key: Option<&str>) -> Relation {
    let column = |id: u32, sql_type: &str| ColumnDefinition {
        id: ColumnId(id),
        name: format!("c{id}"),
        sql_type: SqlType::parse(sql_type).unwrap(),
        not_null: id == 1,
        default: (id == 2).then(|| "now()".to_owned()),
        identity: (id == 1).then_some(Identity { kind: IdentityKind::ByDefault, sequence: Oid(oid + 1) }),
        missing: (id == 3).then(|| "häßlich".to_owned()),
    };
    Relation::Table(Arc::new(TableDefinition {
        oid: Oid(oid),
        schema: Oid::PUBLIC,
        name: name.to_owned(),
        owner: "colonnade".to_owned(),
        columns: vec![
            column(1, "bigint"),
            column(2, "timestamptz"),
            column(3, "varchar(20)"),
            column(5, "numeric(10,2)[]"),
        ],
        next_column: ColumnId(6),
        checks: vec![CheckConstraint { oid: Oid(oid + 5), name: "positive".into(), expression: "c1 > 0".into() }],
        keys: key
            .iter()
            .map(|key| KeyConstraint {
                oid: Oid(oid + 6),
                index: Oid(oid + 7),
                name: (*key).to_owned(),
                columns: vec![ColumnId(1), ColumnId(3)],
                primary: true,
                nulls_not_distinct: false,
            })
            .collect(),
        sort_key: vec![ColumnId(2)],
        storage: StorageId(u64::from(oid) << 33),
    }))
}

fn view(oid: u32, name: &str, depends_on: &[u32]) -> Relation {
    Relation::View(Arc::new(ViewDefinition {
        oid: Oid(oid),
        schema: Oid::PUBLIC,
        name: name.to_owned(),
        owner: "colonnade".to_owned(),
        columns: vec![ViewColumn { name: "x".into(), sql_type: SqlType::Text }],
        query: "SELECT 1".to_owned(),
        depends_on: depends_on.iter().copied().map(Oid).collect(),
    }))
}

fn sequence(oid: u32, name: &str, owner: Option<u32>) -> Relation {
    Relation::Sequence(Arc::new(SequenceDefinition {
        oid: Oid(oid),
        schema: Oid::PUBLIC,
        name: name.to_owned(),
        owner: "colonnade".to_owned(),
        sql_type: SqlType::BigInt,
        start: 1,
        increment: -1,
        min: i64::MIN,
        max: i64::MAX,
        cycle: true,
        cache: 1,
        owned_by: owner.map(|table| (Oid(table), ColumnId(1))),
    }))
}

fn put(relation: Relation) -> CatalogEdit {
    CatalogEdit::PutRelation(relation)
}

fn sample() -> Catalog {
    let mut catalog = Catalog::initial();
    let own = SchemaDefinition { oid: Oid(16_384), name: "sales".into(), owner: "colonnade".into() };
    let edits = [
        CatalogEdit::PutSchema(own),
        put(table(16_400, "t", Some("t_pkey"))),
        put(view(16_420, "v", &[16_400])),
        put(sequence(16_401, "t_c1_seq", Some(16_400))),
        CatalogEdit::PutComment { object: Oid(16_400), sub: 2, text: Some("when".into()) },
        CatalogEdit::PutComment { object: Oid(16_384), sub: 0, text: Some("what we sold".into()) },
    ];
    for edit in &edits {
        catalog.apply(edit).unwrap();
        let mut out = Encoder::new();
        encode_edit(&mut out, edit);
        let bytes = out.into_vec();
        assert_eq!(decode_edit(&mut Decoder::new(&bytes)).as_ref(), Ok(edit));
        for len in 0..bytes.len() {
            assert!(decode_edit(&mut Decoder::new(&bytes[..len])).is_err(), "{edit:?} of {len} bytes");
        }
    }
    catalog
}

#[test]
fn objects_are_found_by_oid_and_by_name() {
    let catalog = sample();
    assert_eq!(catalog.relation_by_name(Oid::PUBLIC, "t").map(Relation::oid), Some(Oid(16_400)));
    assert_eq!(catalog.relation_by_name(Oid(16_384), "t"), None);
    assert_eq!(catalog.relation_by_name(Oid::PUBLIC, "t_pkey"), None);
    assert!(catalog.name_in_use(Oid::PUBLIC, "t_pkey"));
    assert_eq!(catalog.relation(Oid(16_420)).map(Relation::kind), Some("view"));
    assert_eq!(catalog.schema_by_name("sales").map(|schema| schema.oid), Some(Oid(16_384)));
    assert_eq!(catalog.comment(Oid(16_400), 2), Some("when"));
    assert_eq!(catalog.dependents(Oid(16_400)), [Oid(16_401), Oid(16_420)]);
    assert_eq!(catalog.dependents(Oid(16_384)), []);
    assert_eq!(catalog.oid_max(), Oid(16_420));
}

#[test]
fn an_edit_that_does_not_fit_changes_nothing() {
    let mut catalog = sample();
    let before = catalog.clone();
    let schema = |oid, name: &str| SchemaDefinition { oid: Oid(oid), name: name.into(), owner: "colonnade".into() };
    let wrong_schema = match table(17_000, "lost", None) {
        Relation::Table(table) => {
            Relation::Table(Arc::new(TableDefinition { schema: Oid(9), ..TableDefinition::clone(&table) }))
        }
        other => other,
    };
    for (edit, error) in [
        (CatalogEdit::PutSchema(schema(17_000, "public")), CatalogError::DuplicateSchema("public".into())),
        (CatalogEdit::PutSchema(schema(16_400, "x")), CatalogError::WrongKind(Oid(16_400))),
        (CatalogEdit::DropSchema(Oid(9)), CatalogError::UnknownSchema(Oid(9))),
        (CatalogEdit::DropSchema(Oid::PUBLIC), CatalogError::SchemaNotEmpty("public".into())),
        (put(table(17_000, "v", None)), CatalogError::DuplicateRelation("v".into())),
        (put(table(17_000, "t_pkey", None)), CatalogError::DuplicateRelation("t_pkey".into())),
        (put(table(17_000, "new", Some("t"))), CatalogError::DuplicateRelation("t".into())),
        (put(table(17_000, "new", Some("new"))), CatalogError::DuplicateRelation("new".into())),
        (put(view(16_400, "t", &[])), CatalogError::WrongKind(Oid(16_400))),
        (put(wrong_schema), CatalogError::UnknownSchema(Oid(9))),
        (CatalogEdit::DropRelation(Oid(9)), CatalogError::UnknownRelation(Oid(9))),
    ] {
        assert_eq!(catalog.apply(&edit), Err(error), "{edit:?}");
        assert_eq!(catalog, before);
    }
}

#[test]
fn a_renamed_or_dropped_relation_frees_its_names() {
    let mut catalog = sample();
    let old = catalog.clone();
    catalog.apply(&put(table(16_400, "renamed", Some("renamed_pkey")))).unwrap();
    assert!(!catalog.name_in_use(Oid::PUBLIC, "t"));
    assert!(!catalog.name_in_use(Oid::PUBLIC, "t_pkey"));
    assert!(catalog.relation_by_name(Oid::PUBLIC, "renamed").is_some());
    catalog.apply(&CatalogEdit::DropRelation(Oid(16_400))).unwrap();
    assert!(!catalog.name_in_use(Oid::PUBLIC, "renamed_pkey"));
    assert_eq!(catalog.comment(Oid(16_400), 2), None);
    catalog.apply(&CatalogEdit::PutComment { object: Oid(16_384), sub: 0, text: None }).unwrap();
    assert_eq!(catalog.comments().count(), 0);
    catalog.apply(&CatalogEdit::DropSchema(Oid(16_384))).unwrap();
    // A copy made before keeps what it had.
    assert!(old.relation_by_name(Oid::PUBLIC, "t").is_some());
    assert_eq!(old.comments().count(), 2);
}

#[test]
fn a_catalog_survives_its_bytes() {
    let catalog = sample();
    let mut out = Encoder::new();
    encode_catalog(&mut out, &catalog);
    let bytes = out.into_vec();
    let mut input = Decoder::new(&bytes);
    let read = decode_catalog(&mut input).unwrap();
    input.finish().unwrap();
    assert_eq!(read, catalog);
    assert!(read.relation_by_name(Oid::PUBLIC, "t").is_some());
    for len in 0..bytes.len() {
        assert!(decode_catalog(&mut Decoder::new(&bytes[..len])).is_err(), "{len} bytes");
    }
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert!(decode_catalog(&mut Decoder::new(&newer)).unwrap_err().what.contains("version 1, found 2"));
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic(position in any::<prop::sample::Index>(), value: u8, cut in any::<prop::sample::Index>()) {
        let mut out = Encoder::new();
        encode_catalog(&mut out, &sample());
        let mut bytes = out.into_vec();
        let place = position.index(bytes.len());
        bytes[place] = value;
        let _ = decode_catalog(&mut Decoder::new(&bytes));
        let _ = decode_edit(&mut Decoder::new(&bytes[cut.index(bytes.len())..]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = decode_catalog(&mut Decoder::new(&bytes));
        let _ = decode_edit(&mut Decoder::new(&bytes));
    }
}
