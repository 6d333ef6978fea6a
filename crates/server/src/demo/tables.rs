//! The eight tables of TPC-H and their generators.

use arrow::record_batch::RecordBatch;
use tpchgen::generators as rows;
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

/// Rows of a generated batch.
const BATCH_ROWS: usize = 65_536;

/// Generates one part of a table, in order.
pub(super) type Generator = Box<dyn Iterator<Item = Result<RecordBatch, arrow::error::ArrowError>> + Send>;

/// One table of the benchmark.
pub(super) struct DemoTable {
    pub(super) name: &'static str,
    /// Columns and options of CREATE TABLE.
    pub(super) definition: &'static str,
    /// Rows at scale 1.
    pub(super) rows: u64,
    /// Whether the number of rows grows with the scale.
    pub(super) grows: bool,
    /// Generates part `part` (from 1) of `parts` at a scale.
    pub(super) generate: fn(scale: f64, part: i32, parts: i32) -> Generator,
}

/// The tables, small ones first.
pub(super) const TABLES: &[DemoTable] = &[
    DemoTable {
        name: "region",
        definition: "(r_regionkey bigint not null, r_name char(25) not null, r_comment varchar(152))",
        rows: 5,
        grows: false,
        generate: |scale, part, parts| {
            Box::new(RegionArrow::new(rows::RegionGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        },
    },
    DemoTable {
        name: "nation",
        definition: "(n_nationkey bigint not null, n_name char(25) not null, n_regionkey bigint not null, n_comment varchar(152))",
        rows: 25,
        grows: false,
        generate: |scale, part, parts| {
            Box::new(NationArrow::new(rows::NationGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        },
    },
    DemoTable {
        name: "supplier",
        definition: "(s_suppkey bigint not null, s_name char(25) not null, s_address varchar(40) not null, s_nationkey bigint not null, \
                     s_phone char(15) not null, s_acctbal decimal(15,2) not null, s_comment varchar(101) not null)",
        rows: 10_000,
        grows: true,
        generate: |scale, part, parts| {
            Box::new(SupplierArrow::new(rows::SupplierGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        },
    },
    DemoTable {
        name: "customer",
        definition: "(c_custkey bigint not null, c_name varchar(25) not null, c_address varchar(40) not null, c_nationkey bigint not null, \
                     c_phone char(15) not null, c_acctbal decimal(15,2) not null, c_mktsegment char(10) not null, c_comment varchar(117) not null)",
        rows: 150_000,
        grows: true,
        generate: |scale, part, parts| {
            Box::new(CustomerArrow::new(rows::CustomerGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        },
    },
    DemoTable {
        name: "part",
        definition: "(p_partkey bigint not null, p_name varchar(55) not null, p_mfgr char(25) not null, p_brand char(10) not null, \
                     p_type varchar(25) not null, p_size integer not null, p_container char(10) not null, \
                     p_retailprice decimal(15,2) not null, p_comment varchar(23) not null)",
        rows: 200_000,
        grows: true,
        generate: |scale, part, parts| {
            Box::new(PartArrow::new(rows::PartGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        },
    },
    DemoTable {
        name: "partsupp",
        definition: "(ps_partkey bigint not null, ps_suppkey bigint not null, ps_availqty integer not null, \
                     ps_supplycost decimal(15,2) not null, ps_comment varchar(199) not null)",
        rows: 800_000,
        grows: true,
        generate: |scale, part, parts| {
            Box::new(PartSuppArrow::new(rows::PartSuppGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        },
    },
    DemoTable {
        name: "orders",
        definition: "(o_orderkey bigint not null, o_custkey bigint not null, o_orderstatus char(1) not null, \
                     o_totalprice decimal(15,2) not null, o_orderdate date not null, o_orderpriority char(15) not null, \
                     o_clerk char(15) not null, o_shippriority integer not null, o_comment varchar(79) not null) \
                     with (sort_key = 'o_orderdate')",
        rows: 1_500_000,
        grows: true,
        generate: |scale, part, parts| {
            Box::new(OrderArrow::new(rows::OrderGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        },
    },
    DemoTable {
        name: "lineitem",
        definition: "(l_orderkey bigint not null, l_partkey bigint not null, l_suppkey bigint not null, l_linenumber integer not null, \
                     l_quantity decimal(15,2) not null, l_extendedprice decimal(15,2) not null, l_discount decimal(15,2) not null, \
                     l_tax decimal(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null, l_shipdate date not null, \
                     l_commitdate date not null, l_receiptdate date not null, l_shipinstruct char(25) not null, l_shipmode char(10) not null, \
                     l_comment varchar(44) not null) with (sort_key = 'l_shipdate')",
        rows: 6_001_215,
        grows: true,
        generate: |scale, part, parts| {
            Box::new(LineItemArrow::new(rows::LineItemGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        },
    },
];

impl DemoTable {
    /// About how many rows the table has at a scale.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn expected_rows(&self, scale: f64) -> u64 {
        if self.grows { (self.rows as f64 * scale) as u64 } else { self.rows }
    }

    /// Parts that the table is generated in; small ones are not worth a second thread.
    pub(super) fn parts(&self, scale: f64, threads: usize) -> i32 {
        if self.expected_rows(scale) < 100_000 { 1 } else { i32::try_from(threads.clamp(1, 8)).unwrap_or(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_columns_are_those_of_the_definitions() {
        for table in TABLES {
            let batch = (table.generate)(0.001, 1, 1).next().expect("a batch").expect("generates");
            let columns: Vec<&str> =
                table.definition.split(',').map(|part| part.trim_start_matches([' ', '('])).collect();
            // "decimal(15,2)" is cut in two; its second half is no column.
            let names: Vec<&str> = columns
                .iter()
                .filter(|part| part.starts_with(|c: char| c.is_ascii_lowercase()))
                .map(|part| part.split(' ').next().unwrap_or_default())
                .collect();
            let schema = batch.schema();
            let generated: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            assert_eq!(names, generated, "{}", table.name);
        }
    }
}
