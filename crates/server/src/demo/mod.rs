//! demo stub
use crate::Server;
pub(crate) async fn run(_server: &Server, _scale: f64) -> Result<(), colonnade_execution::Error> {
    Ok(())
}
