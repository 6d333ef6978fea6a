//! A few queries with their timings, and what to type next.

use std::time::Instant;

use arrow::record_batch::RecordBatch;
use colonnade_execution::{Error, Outcome, ResultSchema, Session};
use colonnade_types::{ColumnEncoder, DisplaySettings, Format};
use futures::StreamExt;

use crate::server::Server;

/// Rows of a result that are shown.
const ROWS_SHOWN: usize = 5;

/// What is asked, and how.
const QUERIES: &[(&str, &str)] = &[
    (
        "Pricing summary: one pass over nearly every line item (TPC-H query 1)",
        "select l_returnflag, l_linestatus, sum(l_quantity) as quantity, sum(l_extendedprice * (1 - l_discount)) as revenue, \
         avg(l_discount)::numeric(15,4) as discount, count(*) as items \
         from lineitem where l_shipdate <= date '1998-09-02' group by l_returnflag, l_linestatus order by 1, 2",
    ),
    (
        "Revenue of one week: the table is sorted by l_shipdate, so most of it is not read",
        "select count(*) as items, sum(l_extendedprice * l_discount) as revenue from lineitem \
         where l_shipdate >= date '1994-03-01' and l_shipdate < date '1994-03-08'",
    ),
    (
        "Revenue by nation in Asia: a join of six tables (TPC-H query 5)",
        "select n_name as nation, sum(l_extendedprice * (1 - l_discount)) as revenue \
         from customer, orders, lineitem, supplier, nation, region \
         where c_custkey = o_custkey and l_orderkey = o_orderkey and l_suppkey = s_suppkey and c_nationkey = s_nationkey \
         and s_nationkey = n_nationkey and n_regionkey = r_regionkey and r_name = 'ASIA' \
         and o_orderdate >= date '1994-01-01' and o_orderdate < date '1995-01-01' group by n_name order by revenue desc",
    ),
];

/// Runs the queries and prints answers, timings and what was skipped.
pub(super) async fn run(session: &mut Session) -> Result<(), Error> {
    for (title, sql) in QUERIES {
        println!("\n{title}\n");
        for line in wrap(sql) {
            println!("    {line}");
        }
        println!();
        let started = Instant::now();
        let (schema, batches) = collect(session, sql).await?;
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        print_rows(&schema, &batches, &session.display())?;
        let (read, skipped) = granules(session, sql).await?;
        println!("  {milliseconds:.1} ms; {skipped} of {} granules of 8,192 rows were skipped", read + skipped);
    }
    Ok(())
}

async fn collect(session: &mut Session, sql: &str) -> Result<(ResultSchema, Vec<RecordBatch>), Error> {
    let mut result = (ResultSchema { columns: Vec::new() }, Vec::new());
    for statement in session.parse(sql)? {
        if let Outcome::Rows(mut rows) = session.execute(&statement).await? {
            result.0 = rows.schema.as_ref().clone();
            while let Some(batch) = rows.batches.next().await.transpose()? {
                result.1.push(batch);
            }
        }
    }
    session.finish(true).await?;
    Ok(result)
}

/// Granules that a query read and skipped, over all its tables, as EXPLAIN ANALYZE tells.
async fn granules(session: &mut Session, sql: &str) -> Result<(u64, u64), Error> {
    let (schema, batches) = collect(session, &format!("explain analyze {sql}")).await?;
    let mut sum = (0, 0);
    for batch in &batches {
        for row in 0..batch.num_rows() {
            for line in texts(&schema, batch, row, &session.display())? {
                if let Some(figures) = line.trim().strip_prefix("Granules:") {
                    sum.0 += figure(figures, "read=");
                    sum.1 += figure(figures, "skipped=");
                }
            }
        }
    }
    Ok(sum)
}

/// The number behind a name such as `read=`.
fn figure(text: &str, name: &str) -> u64 {
    let digits = text.split(name).nth(1).unwrap_or_default();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

fn texts(
    schema: &ResultSchema,
    batch: &RecordBatch,
    row: usize,
    display: &DisplaySettings,
) -> Result<Vec<String>, Error> {
    schema
        .columns
        .iter()
        .zip(batch.columns())
        .map(|(column, array)| {
            let encoder = ColumnEncoder::new(&column.sql_type, array, Format::Text, display)?;
            let mut text = Vec::new();
            if !encoder.is_null(row) {
                encoder.write(row, &mut text);
            }
            Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
        })
        .collect()
}

fn print_rows(schema: &ResultSchema, batches: &[RecordBatch], display: &DisplaySettings) -> Result<(), Error> {
    let mut table = vec![schema.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()];
    let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
    for batch in batches {
        for row in 0..batch.num_rows() {
            if table.len() <= ROWS_SHOWN {
                table.push(texts(schema, batch, row, display)?);
            }
        }
    }
    let widths: Vec<usize> = (0..schema.columns.len())
        .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in &table {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        println!("  {}", cells.join("  "));
    }
    if count > ROWS_SHOWN {
        println!("  ... {} more rows", count - ROWS_SHOWN);
    }
    Ok(())
}

fn wrap(sql: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in sql.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            if line.is_empty() {
                line.push_str(word);
            } else if line.len() + word.len() < 110 {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
    }
    lines
}

/// Prints what to type next.
pub(super) fn print_next(server: &Server) {
    println!("\nServing. Try next, in another terminal:\n");
    if let Some(address) = server.pg_address() {
        println!("    psql -h {} -p {} -U colonnade", address.ip(), address.port());
        println!("    colonnade=> \\dt+");
        println!(
            "    colonnade=> explain analyze select count(*) from lineitem where l_shipdate = date '1995-06-17';\n"
        );
    }
    if let Some(address) = server.http_address() {
        println!(
            "    curl http://{address}/api/v1/query -d '{{\"sql\": \"select * from nation where n_name = $1\", \"parameters\": [\"JAPAN\"]}}'"
        );
        println!("    curl http://{address}/metrics\n");
    }
    println!("Ctrl-C ends the server; the data stays.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_explain_are_read() {
        let text = " read=12 skipped=7 (by filter=7, by dynamic filter=0)";
        assert_eq!((figure(text, "read="), figure(text, "skipped="), figure(text, "lost=")), (12, 7, 0));
    }
}
