//! What SQL means here, as text.
//!
//! The cases are `cases/FEATURE/NAME.slt`; `tests/slt` runs each file on a fresh database, in process and over the wire. A file whose second line is
//! `# labels: pg_compat` says what PostgreSQL does and is run against PostgreSQL too when `COLONNADE_PG_COMPAT_URL` is set. Files in
//! `cases/known_failures` state what should be and is not yet: they are run and must fail, so that whoever mends one finds out and moves it.
//!
//! There is nothing here to link against.
