//! Speaks PostgreSQL and HTTP, reads configuration, owns the life of the process.
