//! DataFusion set up as we need it.

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionConfig;

use crate::engine::EngineOptions;
use crate::error::{Error, Result};

/// The memory pool and the directory for spilled data, shared by all sessions.
pub(crate) fn runtime(options: &EngineOptions) -> Result<Arc<RuntimeEnv>> {
    let bytes = options.query_memory_bytes.max(16 << 20);
    let consumers = std::num::NonZeroUsize::new(5).unwrap_or(std::num::NonZeroUsize::MIN);
    let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), consumers);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![options.temp_dir.clone()])),
        )
        .build_arc()
        .map_err(|error| Error::internal(format!("could not set up the query memory: {error}")))
}

/// The state that every session copies.
pub(crate) fn base_state(options: &EngineOptions, runtime: Arc<RuntimeEnv>) -> SessionState {
    let config = SessionConfig::new().with_target_partitions(options.threads.max(1)).with_batch_size(8_192);
    SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build()
}
