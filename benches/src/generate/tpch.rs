//! TPC-H data as Parquet files, one for each table, by `tpchgen`.

use std::path::Path;

use arrow::record_batch::RecordBatchReader;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

use super::parquet_writer;
use crate::BenchError;

/// Writes the eight tables into a directory, which is created; `progress` hears the name of each finished table.
///
/// # Errors
/// If a file cannot be written.
pub fn write(directory: &Path, scale: f64, mut progress: impl FnMut(&str)) -> Result<(), BenchError> {
    std::fs::create_dir_all(directory).map_err(BenchError::file(directory))?;
    let tables: [(&str, Box<dyn RecordBatchReader>); 8] = [
        ("region", Box::new(RegionArrow::new(RegionGenerator::new(scale, 1, 1)))),
        ("nation", Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1)))),
        ("supplier", Box::new(SupplierArrow::new(SupplierGenerator::new(scale, 1, 1)))),
        ("customer", Box::new(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1)))),
        ("part", Box::new(PartArrow::new(PartGenerator::new(scale, 1, 1)))),
        ("partsupp", Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1)))),
        ("orders", Box::new(OrderArrow::new(OrderGenerator::new(scale, 1, 1)))),
        ("lineitem", Box::new(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)))),
    ];
    for (name, batches) in tables {
        let schema = batches.schema();
        let mut writer = parquet_writer(&directory.join(format!("{name}.parquet")), schema)?;
        for batch in batches {
            writer.write(&batch?)?;
        }
        writer.close()?;
        progress(name);
    }
    Ok(())
}
